"""The reference of the template language is complete and current, and its examples print what it shows."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def loaded(name):
    """The script of that name as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = loaded("reference")


def test_every_name_and_argument_is_explained_and_there():
    assert reference.missing() == []


def test_the_page_is_what_the_language_and_its_examples_make_of_it():
    assert reference.PAGE.read_text() == reference.page(), "run make reference"
