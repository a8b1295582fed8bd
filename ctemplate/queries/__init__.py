"""The kinds of queries, each declared in its own module, and the functions that return their facts."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from ctemplate.core.model import Query
from ctemplate.queries.agent import AGENT_KIND, AgentQuery
from ctemplate.queries.alarms import ALARMS_KIND, AlarmsQuery
from ctemplate.queries.ca_leaf import CA_LEAF_KIND, CaLeafQuery
from ctemplate.queries.ca_roots import CA_ROOTS_KIND, CaRootsQuery
from ctemplate.queries.census import CENSUS_KIND, CensusQuery
from ctemplate.queries.connect import CONNECT_KIND, ConnectQuery
from ctemplate.queries.datacenters import DATACENTERS_KIND, DatacentersQuery
from ctemplate.queries.exported_services import EXPORTED_SERVICES_KIND, ExportedServicesQuery
from ctemplate.queries.imported_services import IMPORTED_SERVICES_KIND, ImportedServicesQuery
from ctemplate.queries.key import KEY_KIND, KeyEntry, KeyQuery, TreeQuery
from ctemplate.queries.kind import Kind, Losses, Subject, WatchRole
from ctemplate.queries.local_file import LOCAL_FILE_KIND, LocalFile, LocalFileQuery
from ctemplate.queries.nginx_build import NGINX_BUILD_KIND, NginxBuild, NginxBuildQuery
from ctemplate.queries.node import NODE_KIND, NodeQuery
from ctemplate.queries.node_content import NODE_CONTENT_KIND, NodeContentQuery
from ctemplate.queries.node_list import NODE_LIST_KIND, NodeListQuery
from ctemplate.queries.nodes import NODES_KIND, CatalogNode, NodesQuery
from ctemplate.queries.partitions import PARTITIONS_KIND, PartitionsQuery
from ctemplate.queries.peerings import PEERINGS_KIND, PeeringsQuery
from ctemplate.queries.prepared import PREPARED_KIND, PreparedQuery
from ctemplate.queries.service import SERVICE_KIND, ServiceQuery
from ctemplate.queries.services import SERVICES_KIND, ServicesQuery
from ctemplate.queries.tree import TREE_KIND
from ctemplate.sources.consul.endpoints.paths import Resource
from ctemplate.sources.consul.endpoints.settings import ConsulSettings

__all__ = [
    "KINDS",
    "KIND_FUNCTIONS",
    "READABLE_TYPES",
    "AgentQuery",
    "AlarmsQuery",
    "CaLeafQuery",
    "CaRootsQuery",
    "CatalogNode",
    "CensusQuery",
    "ConnectQuery",
    "DatacentersQuery",
    "ExportedServicesQuery",
    "ImportedServicesQuery",
    "KeyEntry",
    "KeyQuery",
    "LocalFile",
    "LocalFileQuery",
    "Losses",
    "NginxBuild",
    "NginxBuildQuery",
    "NodeContentQuery",
    "NodeListQuery",
    "NodeQuery",
    "NodesQuery",
    "PartitionsQuery",
    "PeeringsQuery",
    "PreparedQuery",
    "ServiceQuery",
    "ServicesQuery",
    "Subject",
    "TreeQuery",
    "WatchRole",
    "kind_of",
    "named_service",
    "resource_of",
]

DECLARED: tuple[Kind[Any], ...] = (
    SERVICES_KIND,
    SERVICE_KIND,
    CONNECT_KIND,
    PREPARED_KIND,
    KEY_KIND,
    TREE_KIND,
    NODES_KIND,
    NODE_KIND,
    AGENT_KIND,
    DATACENTERS_KIND,
    CA_ROOTS_KIND,
    CA_LEAF_KIND,
    PEERINGS_KIND,
    PARTITIONS_KIND,
    EXPORTED_SERVICES_KIND,
    IMPORTED_SERVICES_KIND,
    LOCAL_FILE_KIND,
    NGINX_BUILD_KIND,
    ALARMS_KIND,
    CENSUS_KIND,
    NODE_LIST_KIND,
    NODE_CONTENT_KIND,
)
KINDS: dict[type[Query], Kind[Any]] = {kind.query: kind for kind in DECLARED}
READABLE_TYPES: tuple[type[msgspec.Struct], ...] = tuple(
    dict.fromkeys(readable for kind in DECLARED for readable in kind.readable)
)
"""The types whose fields templates read."""

KIND_FUNCTIONS = {function.__name__: function for kind in DECLARED for function in kind.functions}


def kind_of(query: Query) -> Kind[Any]:
    """Return the facts about a query's kind; raises TypeError for a kind that is not declared."""
    try:
        return KINDS[type(query)]
    except KeyError:
        raise TypeError(f"{type(query).__name__} is no declared kind of query") from None


def named_service(query: Query) -> str | None:
    """Return the service that the query names, None if it names none or only the answer does."""
    kind = kind_of(query)
    return kind.service_name(query) if kind.subject is Subject.NAMED else None


def resource_of(query: Query, settings: ConsulSettings) -> Resource:
    """Return the resource to request from Consul; the settings supply the scope that the query does not name."""
    kind = kind_of(query)
    scope = {
        "dc": query.dc or settings.datacenter,
        "ns": query.ns or settings.namespace,
        "partition": query.partition or settings.partition,
        "peer": query.peer,
    }
    return dataclasses.replace(kind.request(query, scope), not_found=kind.not_found)
