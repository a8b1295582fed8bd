"""A run with ``-once`` leaves no long poll behind, which Consul would count until its wait is over."""

SERVICES = tuple(f"web{number}" for number in range(6))
TEMPLATE = """{% for name in NAMES %}{% for i in service(name) %}
server {{ i.address }}:{{ i.port }};
{% endfor %}{% endfor %}"""


def test_runs_in_quick_succession_keep_within_the_limit_of_connections(tmp_path, start_consul, ctemplate):
    consul = start_consul(config={"limits": {"http_max_conns_per_client": 16}})
    for number, name in enumerate(SERVICES):
        consul.register(name, port=8000 + number, address="10.0.0.1")
    (tmp_path / "a.j2").write_text(TEMPLATE.replace("NAMES", repr(list(SERVICES))))
    options = ("-consul-addr", consul.address, "-template", f"a.j2:{tmp_path}/a", "-timeout", "20s", "-once")
    for number in range(4):
        run = ctemplate(*options, name=f"run{number}")
        assert run.wait(60) == 0, run.log
    assert (tmp_path / "a").read_text().count("server 10.0.0.1:") == len(SERVICES)
