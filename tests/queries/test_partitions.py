"""Admin partitions, exported and imported services, and all fields of peerings: from Consul's answers to templates."""

import json

import pytest
from mesh_answers import IMPORTS, body_of

from ctemplate.core.errors import TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Memory
from ctemplate.queries import (
    ExportedServicesQuery,
    ImportedServicesQuery,
    PartitionsQuery,
    PeeringsQuery,
    kind_of,
    resource_of,
)
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.consul.endpoints.decoding import Decoder, Undecodable
from ctemplate.sources.consul.endpoints.paths import FailureKind, Meta, diagnose
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

QUERIES = [PartitionsQuery(), ExportedServicesQuery(), ImportedServicesQuery(), PeeringsQuery()]
UNKNOWN_PATH = b"Invalid URL path: not a recognized HTTP API endpoint"


def decoded(query, body):
    return kind_of(query).decode(query, body, Decoder(DataLimits()))


def answered(query, body=None):
    path = resource_of(query, ConsulSettings()).target().partition("?")[0]
    value, rejections = decoded(query, body_of(path) if body is None else body)
    return Answer(query=query, value=value, rejections=rejections)


def rendered(text, folder, *answers):
    source = folder / "t.j2"
    source.write_text(text)
    renderer = Renderer([Template.load(source, variables={}, environ={})])
    (found,) = renderer.render(Snapshot({each.query: each for each in answers})).texts
    return found


@pytest.mark.parametrize(
    ("query", "target"),
    [
        (PartitionsQuery(), "/v1/partitions"),
        (ExportedServicesQuery(), "/v1/exported-services"),
        (ExportedServicesQuery(partition="p"), "/v1/exported-services?partition=p"),
        (ImportedServicesQuery(partition="p"), "/v1/imported-services?partition=p"),
    ],
)
def test_each_list_has_a_target(query, target):
    assert resource_of(query, ConsulSettings()).target() == target


def test_a_configured_partition_counts_for_what_is_in_one():
    settings = ConsulSettings(partition="own")
    targets = [resource_of(query, settings).target() for query in QUERIES]
    assert targets == [
        "/v1/partitions",
        "/v1/exported-services?partition=own",
        "/v1/imported-services?partition=own",
        "/v1/peerings?partition=own",
    ]


def test_partitions_come_by_name(tmp_path):
    text = "{% for part in partitions() %}{{ part.name }}: {{ part.description | length }} {% endfor %}"
    assert rendered(text, tmp_path, answered(PartitionsQuery())) == "default: 25 na-west: 32 "


def test_exported_services_come_by_name_with_their_consumers(tmp_path):
    text = (
        "{% for svc in exported_services() %}{{ svc.name }} {{ svc.namespace or '-' }} {{ svc.partition or '-' }} "
        "{{ svc.peers | join('+') }} {{ svc.partitions | join('+') }};{% endfor %}"
    )
    found = rendered(text, tmp_path, answered(ExportedServicesQuery()))
    assert found == "db default default  na-west;frontend - - east+west ;"


@pytest.mark.parametrize("body", [{"Partition": "default", "ImportedServices": IMPORTS}, IMPORTS])
def test_imported_services_come_alike_from_both_editions_of_consul(body, tmp_path):
    text = (
        "{% for svc in imported_services() %}{{ svc.name }} {{ svc.peer or '-' }} {{ svc.source_partition or '-' }} "
        "{{ svc.namespace or '-' }};{% endfor %}"
    )
    found = rendered(text, tmp_path, answered(ImportedServicesQuery(), json.dumps(body).encode()))
    assert found == "api east - -;web - na-west default;"


@pytest.mark.parametrize("query", [ExportedServicesQuery(), ImportedServicesQuery(), PartitionsQuery()])
def test_a_list_without_entries_is_empty(query):
    assert [decoded(query, body) for body in (b"null", b"[]")] == [((), ()), ((), ())]


def test_an_empty_list_of_consul_enterprise_is_empty():
    assert decoded(ImportedServicesQuery(), b'{"Partition": "default", "ImportedServices": null}') == ((), ())


def test_a_peering_has_every_field_that_consul_gives(tmp_path):
    text = (
        "{% for p in peerings() if p.partition %}{{ p.name }} {{ p.id | length }} {{ p.partition }} "
        "{{ p.meta.env }} {{ p.imported | join('+') }} {{ p.exported | join('+') }} {{ p.peer_id | length }} "
        "{{ p.server_name }} {{ p.server_addresses | join('+') }} {{ p.remote_partition }} {{ p.remote_datacenter }};"
        "{% endfor %}"
    )
    assert rendered(text, tmp_path, answered(PeeringsQuery())) == (
        "cluster-west 36 default prod api+web db 36 server.dc1.consul 10.0.0.1:8300 default dc2;"
    )


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("body", [b"[1]", b"nonsense", b'"text"', b'[{"Name": 1, "Service": 1}]'])
def test_an_answer_of_another_shape_is_undecodable(query, body):
    with pytest.raises(Undecodable):
        decoded(query, body)


@pytest.mark.parametrize(
    ("query", "row", "call", "said"),
    [
        (PartitionsQuery(), {"Name": "x; }"}, "partitions()[0].name", r"admin partition 'x; }': 'x; }' is no plain"),
        (ExportedServicesQuery(), {"Service": "x; }"}, "exported_services()[0].name", r"exported service 'x; }'"),
        (ImportedServicesQuery(), {"Service": "x; }"}, "imported_services()[0].name", r"imported service 'x; }'"),
        (
            ExportedServicesQuery(),
            {"Service": "x", "Consumers": {"Peers": ["x; }"]}},
            "exported_services()[0].peers[0]",
            r"exported service 'x'",
        ),
    ],
)
def test_a_forbidden_text_refuses_the_render(query, row, call, said, tmp_path):
    with pytest.raises(TemplateError, match=said):
        rendered(f"{{{{ {call} }}}}", tmp_path, answered(query, json.dumps([row]).encode()))


@pytest.mark.parametrize("body", [b"", UNKNOWN_PATH])
@pytest.mark.parametrize(
    ("query", "said"),
    [
        (PartitionsQuery(), "this Consul has no admin partitions, which Consul Enterprise has since 1.11"),
        (ExportedServicesQuery(), "this Consul does not list exported services, which came with 1.17.3"),
        (ImportedServicesQuery(), "this Consul does not list imported services, which came after exported ones"),
        (PeeringsQuery(), "this Consul has no cluster peering, which came with 1.13"),
    ],
)
def test_a_consul_that_lacks_the_list_is_named(query, said, body):
    not_found = resource_of(query, ConsulSettings()).not_found
    assert diagnose(404, Meta(), body, not_found=not_found) == (FailureKind.REFUSED, said)


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_lists_are_recorded_and_read_again(query):
    given = answered(query)
    found = answer(parse_catalog(dump(recorded([given], is_full=True)), name="c"), query)
    assert found.value == given.value


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_lists_outlive_the_process(query, tmp_path):
    path = tmp_path / "answers.json"
    assert save_answers(path, [Memory(answer=answered(query))], wall=10.0)
    assert load_answers(path, wall=10.0) == (Memory(answer=answered(query)),)


@pytest.mark.parametrize(
    ("query", "resource"),
    [(PartitionsQuery(), "operator"), (ExportedServicesQuery(), "mesh"), (ImportedServicesQuery(), "mesh")],
)
def test_each_list_needs_one_right(query, resource):
    (right,) = kind_of(query).rights(query)
    assert (right.resource, right.name, right.access) == (resource, None, "read")


def test_only_the_partitions_are_polled():
    assert [kind_of(query).blocks for query in QUERIES] == [False, True, True, True]
