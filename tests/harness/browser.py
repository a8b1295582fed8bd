"""A real headless browser that shows the status page."""

import contextlib
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from harness.programs import program

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
)


@contextlib.contextmanager
def browser(folder: Path, *, width: int = 1200, height: int = 900):
    """Start Chromium with a profile of its own; it ends with the block."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for argument in (*ARGUMENTS, f"--user-data-dir={folder}", f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
