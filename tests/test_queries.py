"""Kinds of queries are data: no code outside their folder decides by a query's class."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import ctemplate
from ctemplate.core.model import ARGUMENTS, Query
from ctemplate.queries import (
    KINDS,
    CaRootsQuery,
    DatacentersQuery,
    LocalFileQuery,
    Losses,
    NginxBuildQuery,
    Subject,
    WatchRole,
    kind_of,
    resource_of,
)
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.local_files import HOST_ROLES

PACKAGE = Path(ctemplate.__file__).parent
FOR_ANY_TOKEN = {DatacentersQuery, CaRootsQuery, LocalFileQuery, NginxBuildQuery}
CLASSES = {query.__name__ for query in KINDS}


def example(query):
    """Return a query of a class, with its required fields filled."""
    return query(**{field: "x" for field in query.__struct_fields__ if field in ARGUMENTS})


def test_every_kind_of_a_module_is_declared():
    sources = "\n".join(file.read_text("utf-8") for file in (PACKAGE / "queries").glob("*.py"))
    assert len(re.findall(r"^[A-Z_]+_KIND = ", sources, re.MULTILINE)) == len(KINDS)


def class_decisions(source):
    """Return the lines that decide by the class of a query: isinstance, a match on a class, a comparison of types."""
    found = []
    if not any(name in source for name in CLASSES):
        return found  # to parse it would take a hundred times as long
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"isinstance", "type"}:
            named = {name.id for argument in node.args[1:] for name in ast.walk(argument) if isinstance(name, ast.Name)}
            found += [node.lineno] if named & CLASSES else []
        elif isinstance(node, ast.MatchClass) and isinstance(node.cls, ast.Name) and node.cls.id in CLASSES:
            found.append(node.lineno)
        elif isinstance(node, ast.Compare):
            named = {each.id for side in node.comparators for each in ast.walk(side) if isinstance(each, ast.Name)}
            is_type = any(
                isinstance(each, ast.Call) and getattr(each.func, "id", "") == "type" for each in ast.walk(node)
            )
            found += [node.lineno] if is_type and named & CLASSES else []
    return found


def test_no_code_outside_the_folder_decides_by_the_class_of_a_query():
    files = (file for file in sorted(PACKAGE.rglob("*.py")) if file.parent != PACKAGE / "queries")
    found = [
        f"{file.relative_to(PACKAGE)}:{line}" for file in files for line in class_decisions(file.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(query, ServiceQuery)",
        "isinstance(answer.query, ServiceQuery | ServicesQuery)",
        "isinstance(query, (PreparedQuery, AlarmsQuery))",
        "type(query) is ServiceQuery",
        "match query:\n case ServiceQuery(): pass",
    ],
)
def test_a_decision_by_class_is_found(source):
    assert class_decisions(source) != []


def test_a_construction_is_no_decision():
    assert class_decisions("ServiceQuery(name=query.name)") == []


def test_no_fact_of_a_kind_has_a_default():
    fields = dataclasses.fields(next(iter(KINDS.values())))
    defaults = [
        field.name
        for field in fields
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    ]
    assert defaults == []


def test_a_kind_that_is_not_declared_is_a_type_error():
    class NewQuery(Query, frozen=True, kw_only=True, tag="new"):
        pass

    with pytest.raises(TypeError, match="NewQuery is no declared kind of query"):
        kind_of(NewQuery())


def test_every_query_class_is_declared_once_under_its_own_tag():
    tags = [query.__struct_config__.tag for query in KINDS]
    assert len(tags) == len(set(tags))
    assert all(kind.query is query for query, kind in KINDS.items())


@pytest.mark.parametrize("query", KINDS)
def test_the_facts_of_a_kind_agree_with_each_other(query):
    kind, asked = KINDS[query], example(query)
    is_wanted = kind.role in {WatchRole.WANTED, *HOST_ROLES}
    assert (kind.stored is not None) == (kind.catalog is not None) == is_wanted
    assert (kind.losses is Losses.INSTANCES) == (kind.service_name(asked) is not None)
    assert (kind.losses is Losses.INSTANCES) == (kind.subject in {Subject.NAMED, Subject.CHOSEN})
    assert (kind.losses is Losses.NAMES) == (kind.subject is Subject.ALL)
    assert kind.blocks or kind.sentinel(asked) is None
    assert (kind.rights(asked) == ()) == (query in FOR_ANY_TOKEN), "any token may read those"
    if kind.role in HOST_ROLES:
        with pytest.raises(TypeError, match="is no question to Consul"):
            resource_of(asked, ConsulSettings())
    else:
        assert resource_of(asked, ConsulSettings()).path.startswith("/v1/")
