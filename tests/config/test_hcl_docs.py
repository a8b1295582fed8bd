import re
from pathlib import Path

from ctemplate.config.hcl_keys import HCL_KEYS
from ctemplate.config.schema import Config, TemplateSection
from ctemplate.core.settings import ConsulSection

PAGE = (Path(__file__).parents[2] / "docs" / "consul-template-configuration.md").read_text()


def test_the_page_has_every_key_as_the_code_has_it():
    rows = re.findall(r"^\| `([^`]+)` \| (?!ctemplate \|)(.*) \|$", PAGE, re.MULTILINE)
    assert dict(rows) == {path: f"`{rule.ours}`" if rule.ours else rule.answer for path, rule in HCL_KEYS.items()}
    assert len(rows) == len(HCL_KEYS)


def test_every_key_goes_to_one_that_exists():
    tables = {"consul": ConsulSection, "template": TemplateSection}
    for path, rule in HCL_KEYS.items():
        table, _, key = rule.ours.partition(".")
        if rule.ours:
            fields = tables.get(table, Config).__struct_encode_fields__
            assert (key.partition(".")[0] if table in tables else table) in fields, path
