import asyncio
from pathlib import Path

import pytest

from ctemplate.catalog import Catalog
from ctemplate.core.errors import ConfigError
from ctemplate.core.model import Answer, Instance, Rejection, Service, Status
from ctemplate.queries import PreparedQuery, ServiceQuery, ServicesQuery
from ctemplate.sources.catalog_file import CatalogFile, read_catalog
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded

TEXT = """
datacenter: dc1
services:
  web:
    tags: [http]
    instances:
      - {address: 10.0.0.2, port: 80, id: b, node: n2, status: critical, weight: 3}
      - {address: "2001:db8::1", port: 81, id: a, node: n1, tags: [http, blue], meta: {zone: "1"}}
  db:
    instances:
      - {address: 10.0.0.3}
datacenters:
  east:
    services:
      web: {instances: [{address: 10.9.0.1, port: 80}]}
"""


def test_services_come_sorted_with_the_union_of_their_tags():
    found = answer(parse_catalog(TEXT, name="c"), ServicesQuery()).value
    assert found == (Service(name="db"), Service(name="web", tags=("blue", "http")))


def test_instances_come_sorted_by_node_and_id_with_printable_addresses():
    found = answer(parse_catalog(TEXT, name="c"), ServiceQuery(name="web")).value
    assert found == (
        Instance(
            id="a",
            name="web",
            node="n1",
            address="[2001:db8::1]",
            port=81,
            tags=("blue", "http"),
            meta={"zone": "1"},
            node_address="[2001:db8::1]",
            datacenter="dc1",
            created=2,
        ),
        Instance(
            id="b",
            name="web",
            node="n2",
            address="10.0.0.2",
            port=80,
            tags=("http",),
            weight=3,
            status=Status.CRITICAL,
            node_address="10.0.0.2",
            datacenter="dc1",
            created=1,
        ),
    )


def test_other_datacenter_has_its_own_services():
    found = answer(parse_catalog(TEXT, name="c"), ServiceQuery(name="web", dc="east")).value
    assert [(row.address, row.datacenter) for row in found] == [("10.9.0.1", "east")]


def test_unknown_service_and_datacenter_have_no_instances():
    catalogue = parse_catalog(TEXT, name="c")
    assert answer(catalogue, ServiceQuery(name="none")).value == ()
    assert answer(catalogue, ServicesQuery(dc="none")).value == ()


def test_address_that_is_no_ip_is_left_out_with_a_reason():
    found = answer(
        parse_catalog("services: {web: {instances: [{address: 'a;b'}]}}", name="c"), ServiceQuery(name="web")
    )
    reason = "'a;b' is not an IP address"
    assert found.value == ()
    assert found.rejections == (Rejection(service="web", instance="web-1", field="address", reason=reason),)


HOST = parse_catalog("services: {web: {instances: [{address: web1.internal, port: 80}]}}", name="c")


def test_a_host_name_is_left_out_with_the_setting_that_allows_it():
    (rejection,) = answer(HOST, ServiceQuery(name="web")).rejections
    reason = "'web1.internal' is not an IP address but a host name; data.allow_hostnames allows them"
    assert rejection == Rejection(service="web", instance="web-1", field="address", reason=reason)


def test_a_host_name_is_taken_where_it_is_allowed():
    found = answer(HOST, ServiceQuery(name="web"), allow_hostnames=True)
    assert ([row.address for row in found.value], found.rejections) == (["web1.internal"], ())


def test_what_is_recorded_gives_the_same_answers():
    contents = parse_catalog(TEXT, name="c")
    queries = [
        ServicesQuery(),
        ServiceQuery(name="web"),
        ServiceQuery(name="db"),
        ServiceQuery(name="web", dc="east"),
        ServiceQuery(name="web", near="_agent"),
    ]
    answers = [answer(contents, query) for query in queries]
    again = parse_catalog(dump(recorded(answers, is_full=True)), name="again")
    assert [answer(again, query).value for query in queries[:4]] == [found.value for found in answers[:4]]


@pytest.mark.parametrize("named", [(None, "dc1"), ("dc1", None), ("dc1", "dc1")])
def test_a_recording_of_the_own_datacenter_by_its_name_keeps_instances_and_tags(named):
    contents = parse_catalog(TEXT, name="c")
    queries = [ServicesQuery(dc=named[0]), ServicesQuery(dc=named[1]), ServiceQuery(name="web", dc=named[1])]
    queries += [ServiceQuery(name="db", dc=named[0])]
    given = {query: answer(contents, query) for query in queries}
    again = parse_catalog(dump(recorded(given.values(), is_full=True)), name="c")
    assert {query: answer(again, query).value for query in queries} == {query: given[query].value for query in queries}


def test_a_recording_keeps_the_order_that_near_gave():
    query = ServiceQuery(name="web", near="_agent")
    first, second = answer(parse_catalog(TEXT, name="c"), ServiceQuery(name="web")).value
    given = Answer(query=query, value=(second, first))
    again = parse_catalog(dump(recorded([given])), name="again")
    assert [row.id for row in answer(again, query).value] == [second.id, first.id]


def test_a_recording_of_a_prepared_query_tells_what_it_chose():
    query = PreparedQuery(name="live", near="_agent")
    first, second = answer(parse_catalog(TEXT, name="c"), ServiceQuery(name="web", dc="east")).value * 2
    given = Answer(query=query, value=(second, first))
    contents = recorded([given], is_full=True)
    assert (contents.answers[0].service, contents.answers[0].datacenter) == ("web", "east")
    again = parse_catalog(dump(contents), name="again")
    assert answer(again, query).value == given.value


def test_a_prepared_query_that_is_not_written_down_gives_the_service_of_its_name():
    found = answer(parse_catalog(TEXT, name="c"), PreparedQuery(name="web"))
    assert [(instance.name, instance.id) for instance in found.value] == [("web", "a"), ("web", "b")]


def test_masked_meta_is_not_written():
    found = answer(parse_catalog(TEXT, name="c"), ServiceQuery(name="web"))
    text = dump(recorded([found], masks=["zo*"]))
    assert "zone: masked" in text


def test_what_is_dumped_parses_back():
    catalogue = parse_catalog(TEXT, name="c")
    assert parse_catalog(dump(catalogue), name="c") == catalogue


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("services: [", "c.yaml:2:1: is not YAML: did not find expected node content", id="syntax"),
        pytest.param("servces: {}", "c.yaml: servces: unknown key; did you mean 'services'?", id="unknown-key"),
        pytest.param(
            "services: {web: {instances: [{port: 80}]}}",
            "c.yaml: services.web.instances[0]: 'address' is missing",
            id="missing-key",
        ),
        pytest.param(
            "services: {web: {instances: [{address: 1.1.1.1, port: 70000}]}}",
            "c.yaml: services.web.instances[0].port: must be a whole number of at most 65535, got 70000",
            id="port",
        ),
        pytest.param("- a", "c.yaml: must be a table, got ['a']", id="no-table"),
    ],
)
def test_broken_file_is_one_line_with_the_place(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_catalog(text, name="c.yaml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param(
            "services:\n  web: {}\n  db: {}\n  web: {}\n", "4:3: 'web' is there twice, first in line 2", id="yaml"
        ),
        pytest.param(
            '{"services":\n {"web": {},\n  "web": {}}}', "3:3: 'web' is there twice, first in line 2", id="json"
        ),
        pytest.param("services: {web: {}, 'web': {}}", "1:21: 'web' is there twice, first in line 1", id="quoted"),
        pytest.param(
            "services: {}\nkeys: {}\nservices: {}", "3:1: 'services' is there twice, first in line 1", id="top"
        ),
        pytest.param(
            "services: {web: {instances: [\n {port: 80, address: 1.1.1.1,\n  port: 81}]}}",
            "3:3: 'port' is there twice, first in line 2",
            id="in a list",
        ),
    ],
)
def test_a_key_that_a_table_has_twice_is_refused_with_its_line(text, place):
    with pytest.raises(ConfigError) as caught:
        parse_catalog(text, name="c.yaml")
    assert str(caught.value) == f"c.yaml:{place}; write it once"


def test_a_key_may_replace_what_an_anchor_says_and_an_anchor_may_be_named_again():
    text = """
services:
  a: {instances: [&one {address: 1.1.1.1, port: 80}, &two {<<: *one, port: 81}]}
  b: {instances: [{<<: *two, port: 82}, *one, *one]}
"""
    contents = parse_catalog(text, name="c")
    assert [instance.port for name in "ab" for instance in contents.services[name].instances] == [80, 81, 82, 80, 80]


def test_an_empty_catalog_is_written_as_one_that_can_be_read():
    assert dump(recorded([])) == "services: {}\n"


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "null", "{}", "--- {}\n"])
def test_an_empty_file_is_no_catalog(text):
    with pytest.raises(ConfigError) as caught:
        parse_catalog(text, name="c.yaml")
    assert str(caught.value) == "c.yaml: is empty; a catalog without services says 'services: {}'"


def test_no_services_and_the_null_device_are_empty_catalogs():
    assert answer(parse_catalog("services: {}", name="c"), ServicesQuery()).value == ()
    assert answer(read_catalog(Path("/dev/null")), ServicesQuery()).value == ()


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_nesting_without_end_is_one_line(text):
    with pytest.raises(ConfigError, match=r"^c\.yaml(:\d+:\d+)?: "):
        parse_catalog(text, name="c.yaml")


async def test_edited_file_is_news_and_a_broken_edit_is_not(tmp_path, caplog):
    path = tmp_path / "catalog.yaml"
    path.write_text("services: {web: {}}")
    catalog = Catalog()
    catalog.want("g", frozenset({ServicesQuery()}))
    running = asyncio.create_task(CatalogFile(path).run(catalog))
    async with asyncio.timeout(60):
        await catalog.news()
        assert catalog.get(ServicesQuery()).value == (Service(name="web"),)
        path.write_text("services: [")
        while "keeping what was read last" not in caplog.text:  # noqa: ASYNC110 - a log has no event to wait for
            await asyncio.sleep(0.02)
        assert catalog.get(ServicesQuery()).value == (Service(name="web"),)
        fresh = tmp_path / "fresh"
        fresh.write_text("services: {web: {}, db: {}}")
        fresh.replace(path)
        await catalog.news()
        assert catalog.get(ServicesQuery()).value == (Service(name="db"), Service(name="web"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
