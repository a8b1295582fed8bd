"""Templates of consul-template that read certificates, peerings and partitions give its bytes.

The expected text is what consul-template 0.42.1 printed when a simulated Consul gave it these answers.
"""

import json

import pytest
from mesh_answers import ANSWERS, KEY, PEM

from ctemplate.convert import convert
from ctemplate.core.model import Answer, Snapshot
from ctemplate.queries import kind_of, resource_of
from ctemplate.sources.consul.endpoints.decoding import Decoder
from ctemplate.sources.consul.endpoints.settings import ConsulSettings, DataLimits
from ctemplate.template import Renderer, Template

SOURCE = """\
{{ range caRoots }}{{ .ID }} {{ .Name }} {{ .Active }} {{ .RootCertPEM }}{{ end }}
{{ with caLeaf "web" }}{{ .CertPEM }}{{ .PrivateKeyPEM }}{{ .ServiceURI }} {{ .Service }} {{ .SerialNumber }}{{ end }}
{{ $leaf := caLeaf "web" }}{{ $leaf.CertPEM }}
{{ range peerings }}{{ .Name }} {{ .PeeringState }} {{ .StreamStatus.ImportedServices }} {{ with .Remote }}\
{{ .Datacenter }}{{ end }}
{{ range .StreamStatus.ExportedServices }}{{ . }}{{ end }}{{ end }}
{{ range peerings "?partition=p" }}{{ .Name }}{{ .Meta.env }}{{ end }}
{{ range partitions }}{{ .Name }}: {{ .Description }}
{{ range exportedServices .Name }}{{ .Service }} {{ join "," .Consumers.Peers }} {{ .Consumers.Partitions }}{{ end }}
{{ range importedServices .Name }}{{ .Service }} {{ .SourcePartition }} {{ .Namespace }}
{{ range service (printf "%s?partition=%s" .Service .SourcePartition) }}{{ .Address }}{{ end }}{{ end }}{{ end }}
"""
PARTS = "db  [na-west]frontend east,west []\napi  \nweb na-west default\n"
EXPECTED = (
    f"a1 Consul CA Primary Cert false {PEM}b2 Consul CA Primary Cert true {PEM}\n"
    f"{PEM}{KEY}spiffe://x/svc/web web 08\n"
    f"{PEM}\n"
    "Cluster-02 ACTIVE [] \ncluster-west ACTIVE [api web] dc2\ndbcluster-03 PENDING [] \n\n"
    "Cluster-02cluster-westprodcluster-03\n"
    f"default: Builtin Default Partition\n{PARTS}na-west: Partition for North America West\n{PARTS}\n"
)


def rendered(text, folder):
    source = folder / "t.j2"
    source.write_bytes(text.encode())
    renderer = Renderer([Template.load(source, variables={}, environ={}, escape="none")])
    answers = {}
    while True:
        rendering = renderer.render(Snapshot(answers))
        if not rendering.missing:
            return rendering.texts[0]
        for query in rendering.missing:
            path = resource_of(query, ConsulSettings()).target().partition("?")[0]
            body = json.dumps(ANSWERS.get(path, [])).encode()
            value, _ = kind_of(query).decode(query, body, Decoder(DataLimits()))
            answers[query] = Answer(query=query, value=value)


def test_certificates_peerings_and_partitions_print_as_in_consul_template(tmp_path):
    result = convert(SOURCE, "mesh.ctmpl")
    assert (result.findings, result.notices) == ((), ())
    assert rendered(result.text, tmp_path) == EXPECTED


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('{{ with caLeaf "" }}{{ . }}{{ end }}x', "x"),
        ("{{ with caLeaf }}a{{ else }}b{{ end }}", "b"),
        ('{{ range exportedServices "" }}{{ .Service }} {{ end }}', "db frontend "),
        ("{{ len peerings }} {{ len partitions }}", "3 2"),
        ('{{ range $i, $p := peerings }}{{ if eq $p.PeeringState "ACTIVE" }}{{ $i }}{{ end }}{{ end }}', "01"),
        ("{{ range peerings }}{{ with .StreamStatus }}{{ len .ImportedServices }}{{ end }}{{ end }}", "020"),
    ],
)
def test_smaller_templates_print_as_in_consul_template(source, text, tmp_path):
    result = convert(source, "mesh.ctmpl")
    assert result.findings == ()
    assert rendered(result.text, tmp_path) == text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ range caRoots }}{{ .NotAfter }}{{ end }}", ".NotAfter, which a root certificate does not have"),
        ('{{ (caLeaf "web").ValidBefore }}', ".ValidBefore, which a certificate does not have"),
        ("{{ range peerings }}{{ .StreamStatus.LastSend }}{{ end }}", ".LastSend, which a peering's stream does not"),
        ("{{ range exportedServices }}{{ .Partition }}{{ end }}", ".Partition, which an exported service does not"),
        ('{{ range importedServices "" }}{{ end }}', "importedServices without a partition"),
        ('{{ peerings "west" }}', "is not of the form ?partition=…"),
    ],
)
def test_what_is_not_there_is_refused_by_name(source, said):
    (finding,) = convert(source, "mesh.ctmpl").findings
    assert said in str(finding)
