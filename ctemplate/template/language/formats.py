"""The formats of output files: how a file's format is recognised, which values may stand where, and the escapes.

Each rule refuses what could leave a value's place in that format, and allows the rest. A plain value may stand
anywhere; any other value is checked at its final place. Must not know templates or services.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field

from ctemplate.config.groups import STDOUT, TemplatePlan
from ctemplate.config.schema import GroupSection
from ctemplate.core.lazy_pattern import lazy_pattern
from ctemplate.core.values import dataclass
from ctemplate.template.language import documents, filters
from ctemplate.template.safety import value_places as places
from ctemplate.template.safety.tainted_text import is_token
from ctemplate.template.safety.value_places import (
    BARE,
    BLOCK,
    COMMENT,
    CONTROL_CHARACTERS,
    DOUBLE,
    KEY,
    SINGLE,
    TEXT,
    UNKNOWN,
    WHOLE,
    Placed,
    Scan,
)

NGINX, OTHER, NONE = "nginx", "other", "none"
LONGEST_KEY = 400
"""The longest value in a key of YAML: parsers read no key of more than 1,024 characters."""
_YAML_WORD = r"(?!\.\.)[A-Za-z0-9_./](?:[A-Za-z0-9_./@+=%~-]|:(?=[A-Za-z0-9_./@+=%~-]))*"
_NO_YAML_WORD = lazy_pattern(rf"^(?!{_YAML_WORD}\Z)")
_LONG_KEY = f"(?s:.{{{LONGEST_KEY + 1}}})"
_LONG = f".{{{filters.HAPROXY_LONGEST + 1}}}"
_NEVER = lazy_pattern("(?!)")
_OTHER_RULE = "escape chooses another rule"
_NAME_ADVICE = "is no plain token; a name prints through | identifier, or through | quote, | comment or | token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format: the commands and files that identify it, its rule for values, and its filters.

    ``plain`` matches values that may stand anywhere. ``barred`` has, for each place, a pattern of what could leave that
    place; in other places only plain values may stand. ``made`` are the places for results of the format's own
    ``escapes``. ``name_advice`` is about a service's own name.
    """

    name: str
    advice: str
    name_advice: str = ""
    programs: re.Pattern[str] = _NEVER
    files: re.Pattern[str] = _NEVER
    plain: re.Pattern[str] = _NEVER
    scan: Scan | None = None
    barred: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    made: frozenset[str] = frozenset()
    escapes: Mapping[str, Callable[..., str]] = field(default_factory=dict)

    @property
    def is_nginx(self) -> bool:
        """Return whether nginx's rule applies to the values."""
        return self.name in {NGINX, OTHER}

    def is_plain(self, text: str) -> bool:
        """Return whether a value may stand anywhere in the format."""
        return is_token(text) if self.is_nginx else self.plain.fullmatch(text) is not None

    def may_stand(self, text: str) -> bool:
        """Return whether there is a place for a value that is not plain."""
        return CONTROL_CHARACTERS.search(text) is None and any(
            not barred.search(text) for barred in self.barred.values()
        )

    def fits(self, value: Placed) -> bool:
        """Return whether a value that is not plain, or a format filter's result, is in an allowed place."""
        if value.is_made:
            is_line = value.place not in {COMMENT, BLOCK} or "\n" not in value.text
            return value.place == UNKNOWN or (value.place in self.made and is_line and not is_long_key(value))
        barred = self.barred.get(value.place)
        return barred is not None and barred.search(value.text) is None


def is_long_key(value: Placed) -> bool:
    """Return whether a value is too long for the key that it is in."""
    return value.place.endswith(KEY) and len(value.text) > LONGEST_KEY


_JSON: dict[str, Callable[..., str]] = {"json": documents.json, "tojson": documents.json, "to_json": documents.to_json}
_ANYTHING = lazy_pattern("(?!)")  # matches nothing, so everything is allowed
_NGINX_NAMES = lazy_pattern("nginx|openresty|tengine|angie")

_TABLE = (
    Format(
        name=NGINX,
        advice="is no plain token; print it through | quote, | comment or | token",
        name_advice=_NAME_ADVICE,
        programs=_NGINX_NAMES,
    ),
    Format(
        name="haproxy",
        advice=f"may not stand there in HAProxy's configuration; print it through | quote; {_OTHER_RULE}",
        programs=lazy_pattern("haproxy"),
        plain=lazy_pattern(r"[A-Za-z0-9_./*\[][A-Za-z0-9_./:*+=?&!~\[\]-]{0,399}"),
        scan=places.in_haproxy,
        barred={
            DOUBLE: lazy_pattern(rf'^$|["\\$%]|{_LONG}'),  # most of its keywords treat an empty word as missing
            SINGLE: lazy_pattern(f"^$|['%]|{_LONG}"),
            COMMENT: lazy_pattern(_LONG),
        },
        made=frozenset({BARE, COMMENT}),
        escapes={"quote": filters.haproxy_quote},
    ),
    Format(
        name="json",
        advice=f"may not stand there in JSON; print it through | json, without quotes around it; {_OTHER_RULE}",
        files=lazy_pattern(r"\.json$"),
        plain=lazy_pattern(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null"),
        scan=places.in_json,
        barred={DOUBLE: lazy_pattern(r'["\\]')},
        made=frozenset({BARE}),
        escapes=_JSON,
    ),
    Format(
        name="yaml",
        advice=f"may not stand there in YAML; print it through | yaml, without quotes around it; {_OTHER_RULE}",
        files=lazy_pattern(r"\.ya?ml$"),
        plain=lazy_pattern(rf"(?!{_LONG_KEY}){_YAML_WORD}"),
        scan=places.in_yaml,
        barred={
            WHOLE: _NO_YAML_WORD,
            BARE: _NO_YAML_WORD,
            DOUBLE: lazy_pattern(r'["\\]'),
            DOUBLE + KEY: lazy_pattern(rf'["\\]|{_LONG_KEY}'),
            SINGLE: lazy_pattern("'"),
            SINGLE + KEY: lazy_pattern(f"'|{_LONG_KEY}"),
            BLOCK: lazy_pattern(r"^\s"),
            COMMENT: _ANYTHING,
        },
        made=frozenset({WHOLE, WHOLE + KEY, BLOCK, COMMENT}),
        escapes={"yaml": documents.yaml} | _JSON,
    ),
    Format(
        name="shell",
        advice=f"may not stand there in shell; print it through | shell, without quotes around it; {_OTHER_RULE}",
        files=lazy_pattern(
            r"\.(?:sh|bash|env)$|(?:^|/)\.env(?:\.[\w-]+)?$|^/etc/environment$|^/etc/(?:default|sysconfig)/"
        ),
        plain=lazy_pattern(r"[A-Za-z0-9_@%+=:,./-]+"),
        scan=places.in_shell,
        barred={DOUBLE: lazy_pattern(r'["\\$`]'), SINGLE: lazy_pattern("'"), COMMENT: _ANYTHING},
        made=frozenset({BARE, COMMENT}),
        escapes={"shell": filters.shell},
    ),
    Format(
        name="html",
        advice=f"may not stand there in HTML; print it through | e, in text or a quoted attribute; {_OTHER_RULE}",
        files=lazy_pattern(r"\.x?html?$"),
        plain=lazy_pattern(r"[A-Za-z0-9._-]+"),
        scan=places.in_html,
        barred={
            TEXT: lazy_pattern("<"),
            DOUBLE: lazy_pattern('"'),
            SINGLE: lazy_pattern("'"),
            COMMENT: lazy_pattern("-|>"),
        },
        made=frozenset({TEXT, DOUBLE, SINGLE, COMMENT}),
        escapes={"html": filters.html, "e": filters.html, "escape": filters.html},
    ),
    Format(
        name="lines",
        advice=f"holds a line break or a control character; print it through | token; {_OTHER_RULE}",
        files=lazy_pattern(r"^/etc/hosts(?:\.[\w-]+)?$"),
        plain=lazy_pattern(f"[^{CONTROL_CHARACTERS.pattern[1:-1]}]*"),
    ),
    Format(name=NONE, advice=""),
    Format(
        name=OTHER,
        advice=f"is no plain token; print it through | quote, | comment or | token; {_OTHER_RULE} than nginx's",
        name_advice=f"{_NAME_ADVICE}; {_OTHER_RULE} than nginx's",
    ),
)
FORMATS = {one.name: one for one in _TABLE}
CHOICES = tuple(name for name in FORMATS if name != OTHER)
"""The formats that ``escape`` may name."""

_PLAIN_LISTS = lazy_pattern(r"(?:^|/)hosts(?:\.[\w-]+)?$|\.(?:hosts|zone|txt|list|lst|map)$")
_TEMPLATE_SUFFIX = lazy_pattern(r"\.(?:j2|jinja2?|tmpl|tpl|ctmpl)$")


def format_of(plan: TemplatePlan, group: GroupSection) -> str:
    """Return the name of a file's format: the named one, else that of its file name, its program or its path.

    For a destination that is only printed, the template's name decides. If nothing identifies a format, it is
    ``other``.
    """
    if plan.escape is not None:
        return plan.escape
    path = _TEMPLATE_SUFFIX.sub("", plan.source.name) if plan.destination == STDOUT else str(plan.destination)
    for one in _TABLE:
        if one.files.search(path):
            return one.name
    for text in (f"{group.reload} {group.check}", path):
        for one in _TABLE:
            if one.programs.search(text):
                return one.name
    return "lines" if _PLAIN_LISTS.search(path) else OTHER
