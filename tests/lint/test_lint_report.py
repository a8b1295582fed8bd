import json

import ctemplate
from ctemplate.lint import CODES, Finding, format_findings

FINDINGS = (
    Finding(path="-var", code="CT202", message="no template uses var.x"),
    Finding(path="a b.j2", line=2, column=3, code="CT102", message="'y' is undefined"),
    Finding(path="/etc/c.toml", code="CT701", message="wait: must be a table, got 3"),
)


def test_text_is_a_line_each():
    assert format_findings(FINDINGS, "text").splitlines() == [
        "-var: CT202 no template uses var.x",
        "a b.j2:2:3: CT102 'y' is undefined",
        "/etc/c.toml: CT701 wait: must be a table, got 3",
    ]


def test_json_has_every_field():
    assert json.loads(format_findings(FINDINGS[:2], "json")) == {
        "version": 1,
        "findings": [
            {"path": "-var", "line": 0, "column": 0, "code": "CT202", "message": "no template uses var.x"},
            {"path": "a b.j2", "line": 2, "column": 3, "code": "CT102", "message": "'y' is undefined"},
        ],
    }


def test_sarif_is_one_run_with_all_rules():
    made = json.loads(format_findings(FINDINGS, "sarif"))
    (run,) = made.pop("runs")
    assert made == {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0"}
    assert run["tool"]["driver"] == {
        "name": "ctemplate",
        "version": ctemplate.__version__,
        "rules": [{"id": code, "shortDescription": {"text": title}} for code, title in CODES.items()],
    }
    assert run["columnKind"] == "unicodeCodePoints"
    assert [(result["ruleId"], result["locations"]) for result in run["results"]] == [
        ("CT202", [{"logicalLocations": [{"name": "-var", "kind": "parameter"}]}]),
        (
            "CT102",
            [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": "a%20b.j2"},
                        "region": {"startLine": 2, "startColumn": 3},
                    }
                }
            ],
        ),
        ("CT701", [{"physicalLocation": {"artifactLocation": {"uri": "file:///etc/c.toml"}}}]),
    ]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == ["CT202", "CT102", "CT701"]
