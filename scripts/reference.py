"""Write docs/templates.md, the reference of the template language, from the language itself and reference.toml.

Signatures and descriptions come from the functions and their docstrings, outputs from running each example over
examples/formats/catalog.yaml. ``python scripts/reference.py`` writes the page, ``--check`` says whether it is current.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment as JinjaEnvironment, nodes

from ctemplate.core.model import Snapshot
from ctemplate.core.shipped import SHIPPED
from ctemplate.lint.names import LOOP_FIELDS
from ctemplate.sources.catalog_file import read_catalog
from ctemplate.sources.contents import Contents, answer
from ctemplate.template import Renderer, Template
from ctemplate.template.language.environment import Environment
from ctemplate.template.language.fields import FIELDS
from ctemplate.template.language.formats import NGINX
from ctemplate.template.language.functions import Functions, Variables
from ctemplate.template.language.loader import FolderLoader

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "templates.md"
WORDS = ROOT / "scripts" / "reference.toml"
CATALOG = ROOT / "examples" / "formats" / "catalog.yaml"
VARIABLES = {"domain": "example.com", "ports": [80, 443]}
ENVIRON = {"HOSTNAME": "balancer-1"}
_PASSES = ("jinja_pass_arg",)

Section = Mapping[str, Any]


def environment() -> Environment:
    """Return the environment that templates have."""
    return Environment(FolderLoader(ROOT / "page.j2", ()), escape=NGINX, functions=Functions(VARIABLES, ENVIRON))


@cache
def catalog() -> Contents:
    """Return the content of the catalog of the examples."""
    return read_catalog(CATALOG)


def rendered(text: str, escape: str = "none") -> str:
    """Return what an example prints over the catalog of the examples."""
    contents, answers = catalog(), {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "example.j2"
        source.write_text(text)
        template = Template.load(source, variables=VARIABLES, environ=ENVIRON, escape=escape)
        renderer = Renderer([template])
        while (rendering := renderer.render(Snapshot(answers))).missing:
            answers |= {query: answer(contents, query) for query in rendering.used | rendering.missing}
    return rendering.texts[0]


def macros() -> dict[str, nodes.Macro]:
    """Return the macros that ship with ctemplate for the templates of others, each behind its template's name."""
    parser = JinjaEnvironment(extensions=["jinja2.ext.do"])  # noqa: S701  # for trees only
    return {
        f"{source.stem}.{macro.name}": macro
        for source in sorted(SHIPPED.glob("*.j2"))
        for macro in parser.parse(source.read_text()).find_all(nodes.Macro)
        if not macro.name.startswith("_")
    }


def parameters(function: Callable[..., Any], *, is_filter: bool) -> dict[str, inspect.Parameter]:
    """Return the parameters that a template gives: without what Jinja passes, and without a filter's own value."""
    plain = inspect.unwrap(function)
    found = list(inspect.signature(plain).parameters.items())
    passed = any(getattr(function, mark, None) is not None for mark in _PASSES)
    passed = passed and found[0][0] in {"environment", "context", "eval_ctx", "env"}
    return dict(found[passed + is_filter :])


def signature(function: Callable[..., Any], *, is_filter: bool) -> str:
    """Return a function's arguments as a template writes them."""
    shown = []
    for name, parameter in parameters(function, is_filter=is_filter).items():
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={_literal(parameter.default)}"
        shown.append(f"{star}{name}{default}")
    return ", ".join(shown)


def _literal(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def description(function: Callable[..., Any]) -> str:
    """Return a docstring of ours as Markdown."""
    return " ".join((inspect.getdoc(inspect.unwrap(function)) or "").split()).replace("``", "`")


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function is ctemplate's own."""
    return inspect.unwrap(function).__module__.startswith("ctemplate.")


def _examples(words: Section) -> Iterator[str]:
    text = words["example"]
    yield f"```jinja\n{text}\n```\n"
    if words.get("varies"):
        yield "which is another text with each render.\n"
    else:
        shown = "\n".join(line.rstrip() for line in rendered(text, words.get("escape", "none")).splitlines())
        yield "```text\n" + shown.strip("\n") + "\n```\n"


def _arguments(words: Section) -> Iterator[str]:
    if words.get("arguments"):
        yield "| argument | |\n|---|---|"
        yield from (f"| `{name}` | {said} |" for name, said in words["arguments"].items())
        yield ""


def _globals(made: Environment, words: Section) -> Iterator[str]:
    for name in sorted(words):
        function = made.globals[name]
        if isinstance(function, Variables):
            yield f"### var\n\n{words[name]['says']}\n"
        else:
            shown = "" if inspect.isclass(function) else signature(function, is_filter=False)
            said = words[name].get("says") or description(function)
            yield f"### {name}\n\n`{name}({shown or words[name].get('signature', '')})`\n\n{said}\n"
        yield from _arguments(words[name])
        yield from _examples(words[name])


def _filters(made: Environment, words: Section) -> Iterator[str]:
    for name in sorted(words):
        function = made.filters[name]
        if "as" in words[name]:
            yield f"### {name}\n\nThe same as [`{words[name]['as']}`](#{words[name]['as']}).\n"
            continue
        shown = signature(function, is_filter=True)
        said = words[name].get("says") or description(function)
        yield f"### {name}\n\n`value | {name}{f'({shown})' if shown else ''}`\n\n{said}\n"
        yield from _arguments(words[name])
        yield from _examples(words[name])


def _tests(words: Section) -> Iterator[str]:
    yield "| test | true for |  example | gives |\n|---|---|---|---|"
    for name in sorted(words):
        said, example = words[name]["says"], words[name]["example"]
        yield f"| `{name}` | {said} | `{example}` | `{rendered('{{ ' + example + ' }}')}` |"
    yield ""


def _fields(words: Section) -> Iterator[str]:
    for kind in words:
        yield f"### {kind}\n\n| field | is | example |\n|---|---|---|"
        for name, (said, example) in words[kind].items():
            yield f"| `{name}` | {said} | `{rendered(example)}` |"
        yield ""


def _macros(words: Section) -> Iterator[str]:
    known = macros()
    for name in sorted(words):
        arguments = ", ".join(argument.name for argument in known[name].args)
        yield f"### {name}\n\n`{name}({arguments})`\n\n{words[name]['says']}\n"
        yield from _examples(words[name])


def page() -> str:
    """Return the page."""
    words, made = tomllib.loads(WORDS.read_text()), environment()
    parts = [words["intro"]]
    for title, lines in (
        ("Functions and values", _globals(made, words["globals"])),
        ("Fields", _fields(words["fields"])),
        ("Filters", _filters(made, words["filters"])),
        ("Tests", _tests(words["tests"])),
        ("Macros", _macros(words["macros"])),
    ):
        parts.append(f"## {title}\n\n{words['said'].get(title, '')}\n\n" + "\n".join(lines))
    return "\n".join(parts).rstrip() + "\n"


def missing() -> list[str]:
    """Return what the language has and the reference does not explain, or the other way round."""
    words, made = tomllib.loads(WORDS.read_text()), environment()
    fields = {kind.__name__.lower(): set(names) for kind, names in FIELDS.items()} | {"loop": set(LOOP_FIELDS)}
    fields["service"].add("listen_port")
    pairs = {
        "globals": (set(made.globals), set(words["globals"])),
        "filters": (set(made.filters), set(words["filters"])),
        "tests": (set(made.tests), set(words["tests"])),
        "macros": (set(macros()), set(words["macros"])),
    } | {f"fields of {kind}": (names, set(words["fields"].get(kind, {}))) for kind, names in fields.items()}
    found = [f"{kind}: {name}" for kind, (one, other) in pairs.items() for name in sorted(one ^ other)]
    return found + list(_missing_arguments(made, words))


def _missing_arguments(made: Environment, words: Section) -> Iterator[str]:
    known = [(name, made.globals[name], words["globals"].get(name, {}), False) for name in made.globals]
    known += [(name, made.filters[name], words["filters"].get(name, {}), True) for name in made.filters]
    for name, function, said, is_filter in known:
        if isinstance(function, Variables) or inspect.isclass(function) or not is_ours(function) or "as" in said:
            continue
        given = set(parameters(function, is_filter=is_filter)) - {"args", "kwargs"}
        yield from (f"argument: {name}({argument})" for argument in sorted(given ^ set(said.get("arguments", {}))))


def main() -> None:
    """Write the page, or say that it is not what it would be."""
    if absent := missing():
        sys.exit("not explained in scripts/reference.toml, or not there any more:\n" + "\n".join(absent))
    if "--check" in sys.argv[1:]:
        sys.exit(PAGE.read_text() != page() and "docs/templates.md is not current; run make reference")
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
