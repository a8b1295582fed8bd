"""Details of instances on a real Consul: a new output of a check reaches the templates that ask for details."""

LIMIT = 60
TEMPLATE = """\
{% for i in service("web", details=true) %}
{{ i.id }} {{ i.weights.passing }} {{ i.tagged_addresses.wan.address }} {{ i.checks[0].notes }} {{ i.checks[0].output }}
{% endfor %}
"""


def register(consul, output):
    service = {
        "ID": "web-1",
        "Service": "web",
        "Address": "10.0.0.1",
        "Weights": {"Passing": 7, "Warning": 1},
        "TaggedAddresses": {"wan": {"Address": "198.51.100.1", "Port": 80}},
    }
    check = {"CheckID": "c", "Name": "c", "Status": "passing", "ServiceID": "web-1", "Notes": "disk", "Output": output}
    consul.api("PUT", "/v1/catalog/register", {"Node": "n1", "Address": "10.0.0.9", "Service": service, "Check": check})


def test_a_new_output_of_a_check_is_rendered(start_consul, ctemplate, tmp_path):
    consul, out = start_consul(), tmp_path / "out"
    register(consul, "ok-1")
    (tmp_path / "t.j2").write_text(TEMPLATE)
    process = ctemplate("-consul-addr", consul.address, "-template", "t.j2:out")
    for output in ("ok-1", "ok-2"):
        register(consul, output)
        text = f"web-1 7 198.51.100.1 disk {output}\n"
        process.wait_for(lambda text=text: out.exists() and out.read_text() == text, LIMIT, output)
