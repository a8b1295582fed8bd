"""The page's files: nothing inline, nothing from outside, and no way for a text to become markup."""

import re
from html.parser import HTMLParser
from importlib import resources

import pytest

from ctemplate.runtime.status_service import PAGE_FILES, PAGE_POLICY

PAGE = resources.files("ctemplate.status").joinpath("page")
FILES = {name: PAGE.joinpath(name).read_text("utf-8") for name, _ in PAGE_FILES.values()}
SINKS = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc", "DOMParser",
    "createContextualFragment", 'setTimeout("', "importScripts", "javascript:", "localStorage", "document.cookie",
)  # fmt: skip


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.inline = []
        self._within = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data):
        if self._within in {"script", "style"} and data.strip():
            self.inline.append(data)

    def handle_endtag(self, _tag):
        self._within = None


def test_the_page_has_nothing_inline_and_nothing_from_outside():
    page = Elements(FILES["index.html"])
    attributes = [(name, value) for _, found in page.found for name, value in found.items()]
    assert page.inline == []
    assert [name for name, _ in attributes if name.startswith("on") or name == "style"] == []
    linked = {value for name, value in attributes if name in {"src", "href"} and not value.startswith("#")}
    assert linked == {"icon.svg", "page.css", "page.js", "status"}
    assert not any(
        re.search(r"https?:|url\(|@import|//\w", text.replace("http://www.w3.org/2000/svg", ""))
        for text in FILES.values()
    )


def test_the_script_has_no_way_to_make_markup_of_a_text():
    assert [sink for sink in SINKS if sink in FILES["page.js"]] == []


def test_every_label_and_part_can_be_reached():
    page = Elements(FILES["index.html"])
    names = {found["id"] for _, found in page.found if "id" in found}
    asked = set(re.findall(r"(?:find|fill)\(\"([\w-]+)\"", FILES["page.js"]))
    assert asked <= names
    targets = {found["href"][1:] for tag, found in page.found if tag == "a" and found["href"].startswith("#")}
    assert targets <= names
    assert ("html", {"lang": "en"}) in page.found


@pytest.mark.parametrize(
    "directive", ["default-src 'none'", "script-src 'self'", "form-action 'none'", "trusted-types 'none'"]
)
def test_the_policy_allows_its_own_files_alone(directive):
    assert directive in PAGE_POLICY.split("; ")
    assert "unsafe" not in PAGE_POLICY
