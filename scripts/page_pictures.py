"""Take the pictures of the status page for the documentation: real Consul, nginx and ctemplate, in headless Chromium.

.venv/bin/python scripts/page_pictures.py docs/pictures
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from harness import free_port, wait_for  # noqa: E402 - from the folder of the tests
from harness.browser import browser  # noqa: E402
from harness.consul import Consul  # noqa: E402
from harness.ctemplate import Ctemplate  # noqa: E402
from harness.nginx import Nginx  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

LIMIT = 60.0
TEMPLATE = """
{% for svc in services() if svc.name != "consul" %}
upstream {{ svc.name | identifier }} {
{% for i in service(svc.name) %}
    server {{ i.address }}:{{ i.port }} weight={{ i.weight }};
{% else %}
    server 127.0.0.1:9 down;
{% endfor %}
}
{% endfor %}
"""
SERVICES = {"api": 4, "auth": 2, "billing": 3, "search": 5, "web": 6}


def take(out: Path, work: Path) -> None:
    """Bring a site to an interesting moment and take its pictures."""
    consul, nginx = Consul(work).start(), Nginx(work)
    (work / "services.conf.j2").write_text(TEMPLATE)
    nginx.conf.write_text(f"{nginx.main}http {{ {nginx.http} include {work}/services.conf; }}")
    (work / "services.conf").touch()
    nginx.start()
    for number, (name, count) in enumerate(SERVICES.items(), start=1):
        for each in range(1, count + 1):
            consul.catalog(name, f"{name}-{each}", 8000 + each, address=f"127.0.{number}.{each}")
    (work / "token").write_text("0123456789abcdef")
    port = free_port()
    (work / "ctemplate.toml").write_text(
        f'[consul]\naddress = "{consul.address}"\n'
        f'[status]\naddress = "127.0.0.1:{port}"\ntoken_file = "{work}/token"\n'
        f'[[group]]\nname = "edge"\nreload = {json.dumps(nginx.reload_command)}\n'
        f'[[template]]\nsource = "services.conf.j2"\ndestination = "{work}/services.conf"\ngroup = "edge"\n'
    )
    daemon = Ctemplate(work, "-config", work / "ctemplate.toml").start()
    try:
        daemon.wait_for_log(": applied", LIMIT)
        with browser(work / "browser", width=1200, height=1150) as page:
            show(page, f"http://127.0.0.1:{port}/", consul)
            page.save_screenshot(str(out / "page.png"))
            media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
            page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
            page.execute_script("window.scrollTo(0, 0)")
            page.save_screenshot(str(out / "page-phone.png"))
    finally:
        daemon.stop()
        nginx.stop()
        consul.stop()


def show(page: object, url: str, consul: Consul) -> None:
    """Show a change with its diff, then a hold."""

    def text(name: str) -> str:
        return page.find_element(By.ID, name).text

    page.get(url)
    wait_for(lambda: text("verdict") == "ready", LIMIT, "ready")
    consul.catalog("web", "web-7", 8007, address="127.0.5.7")
    wait_for(lambda: "instance web-7" in text("group-list"), LIMIT, "the change")
    consul.restart(keep_data=False)
    wait_for(lambda: "ctemplate release" in text("held-list"), LIMIT, "a hold")
    page.execute_script("document.querySelector('#group-list details').open = true")
    wait_for(lambda: "+    server" in text("group-list"), LIMIT, "the diff")
    page.execute_script("document.querySelector('#service-list details').open = true")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ctemplate-pictures-") as folder:
        take(Path(sys.argv[1]), Path(folder))
