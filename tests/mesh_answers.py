"""Answers of newer Consuls and of Consul Enterprise, in the shape that HashiCorp's API reference shows."""

import json

PEM = "-----BEGIN CERTIFICATE-----\nTUlJQmNlcnRpZmljYXRl\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN EC PRIVATE KEY-----\nTUhjQ0FRRUVJTHd6\n-----END EC PRIVATE KEY-----\n"
SEEN = "2023-03-01T13:00:00Z"

PEERINGS = [
    {
        "ID": "462c45e8-018e-f19d-85eb-1fc1bcc2ef12",
        "Name": "cluster-west",
        "Partition": "default",
        "Meta": {"env": "prod"},
        "State": "ACTIVE",
        "PeerID": "e83a315c-027e-bcb1-7c0c-a46650904a05",
        "PeerServerName": "server.dc1.consul",
        "PeerServerAddresses": ["10.0.0.1:8300"],
        "StreamStatus": {
            "ImportedServices": ["api", "web"],
            "ExportedServices": ["db"],
            "LastHeartbeat": SEEN,
            "LastReceive": SEEN,
            "LastSend": SEEN,
        },
        "CreateIndex": 89,
        "ModifyIndex": 89,
        "Remote": {
            "Partition": "default",
            "Datacenter": "dc2",
            "Locality": {"Region": "us-west-1", "Zone": "us-west-1a"},
        },
    },
    {
        "ID": "1460ada9-26d2-f30d-3359-2968aa7dc47d",
        "Name": "cluster-03",
        "State": "PENDING",
        "StreamStatus": {"ImportedServices": None, "ExportedServices": None},
        "CreateIndex": 9,
        "ModifyIndex": 19,
        "Remote": {"Partition": "", "Datacenter": ""},
    },
    {
        "ID": "2460ada9-26d2-f30d-3359-2968aa7dc47d",
        "Name": "Cluster-02",
        "State": "ACTIVE",
        "StreamStatus": {"ImportedServices": [], "ExportedServices": []},
        "CreateIndex": 9,
        "ModifyIndex": 19,
        "Remote": {"Partition": "", "Datacenter": ""},
    },
]
PARTITIONS = [
    {"Name": "na-west", "Description": "Partition for North America West", "CreateIndex": 1, "ModifyIndex": 2},
    {"Name": "default", "Description": "Builtin Default Partition", "CreateIndex": 4, "ModifyIndex": 4},
]
EXPORTS = [
    {"Service": "frontend", "Consumers": {"Peers": ["east", "west"]}},
    {"Service": "db", "Partition": "default", "Namespace": "default", "Consumers": {"Partitions": ["na-west"]}},
]
IMPORTS = [
    {"Service": "web", "SourcePartition": "na-west", "Namespace": "default", "Partition": "default"},
    {"Service": "api", "SourcePeer": "east"},
]
ROOTS = {
    "ActiveRootID": "b2",
    "TrustDomain": "x.consul",
    "Roots": [
        {"ID": "a1", "Name": "Consul CA Primary Cert", "RootCert": PEM, "IntermediateCerts": None, "Active": False},
        {"ID": "b2", "Name": "Consul CA Primary Cert", "RootCert": PEM, "Active": True},
    ],
}
LEAF_ANSWER = {
    "SerialNumber": "08",
    "CertPEM": PEM,
    "PrivateKeyPEM": KEY,
    "Service": "web",
    "ServiceURI": "spiffe://x/svc/web",
    "ValidAfter": "2026-11-28T20:18:19Z",
    "ValidBefore": "2026-12-01T20:18:19Z",
}

ANSWERS = {
    "/v1/peerings": PEERINGS,
    "/v1/partitions": PARTITIONS,
    "/v1/exported-services": EXPORTS,
    "/v1/imported-services": {"Partition": "default", "ImportedServices": IMPORTS},
    "/v1/connect/ca/roots": ROOTS,
    "/v1/agent/connect/ca/roots": ROOTS,
    "/v1/agent/connect/ca/leaf/web": LEAF_ANSWER,
}


def body_of(path):
    """The body of the answer to a path."""
    return json.dumps(ANSWERS[path]).encode()
