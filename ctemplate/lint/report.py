"""Findings for machines: JSON, and SARIF 2.1.0 for code hosts. Pure.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ctemplate import __version__
from ctemplate.core.errors import printable
from ctemplate.lint.finding import CODES, Finding

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
REPORT_FORMATS = ("text", "json", "sarif")


def format_findings(findings: Sequence[Finding], form: str) -> str:
    """Return the findings in one of the formats, without a trailing line break."""
    if form == "text":
        return "\n".join(map(str, findings))
    made = _sarif(findings) if form == "sarif" else {"version": 1, "findings": [asdict(found) for found in findings]}
    return json.dumps(made, indent=2, ensure_ascii=False)


def _sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    rules = [{"id": code, "shortDescription": {"text": title}} for code, title in CODES.items()]
    driver = {"name": "ctemplate", "version": __version__, "rules": rules}
    results = [_result(found) for found in findings]
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _result(found: Finding) -> dict[str, Any]:
    return {
        "ruleId": found.code,
        "ruleIndex": list(CODES).index(found.code),
        "level": "error",
        "message": {"text": found.message},
        "locations": [_location(found)],
    }


def _location(found: Finding) -> dict[str, Any]:
    """Return a finding's location: a file, with line and column if they are known, or the operator's option."""
    if found.path.startswith("-") or found.path in {"environment", "configuration", "command line"}:
        return {"logicalLocations": [{"name": printable(found.path), "kind": "parameter"}]}
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(found.path)}}
    if found.line:
        place["region"] = {"startLine": found.line, "startColumn": max(found.column, 1)}
    return {"physicalLocation": place}


def _uri(path: str) -> str:
    quoted = urllib.parse.quote(path, safe="/", errors="surrogateescape")
    return f"file://{quoted}" if path.startswith("/") else quoted
