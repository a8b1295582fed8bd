"""consul-template's grammar on a real Consul: always reported, and valid names in Consul still work."""

import pytest
from harness import wait_for

LOOP = '{{% for i in service("{}") %}}{{{{ i.port }}}}{{% endfor %}}'
NAMES = ["prod.web", "web@dc1", "web~_agent", "web|any"]
SAID = {
    "prod.web": 'service("web", tag="prod")',
    "web@dc1": 'service("web", dc="dc1")',
    "web~_agent": 'service("web", near="_agent")',
    "web|any": 'service("web", status="any")',
}


def once(ctemplate, consul, text, folder):
    """Render a template once; return what was logged as a warning, and the file."""
    (folder / "t.j2").write_text(text)
    process = ctemplate("-once", "-template", "t.j2:out", "-state-dir", "state", "-consul-addr", consul.address)
    assert process.wait(30) == 0, process.log()
    warnings = [line.partition(" WARNING ")[2] for line in process.log().splitlines() if " WARNING " in line]
    return warnings, (folder / "out").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_consul_templates_grammar_is_one_warning(tmp_path, consul, ctemplate, name):
    consul.register("web", port=80, tags=["prod"])
    warnings, _ = once(ctemplate, consul, LOOP.format(name), tmp_path)
    what = f"no such service is known; write {SAID[name]} for what consul-template means by that"
    assert warnings == [f't.j2:1: service("{name}"): {what}']


@pytest.mark.parametrize("name", NAMES)
def test_a_service_that_is_really_called_so_is_found(tmp_path, consul, ctemplate, name):
    consul.register("web", port=80)
    consul.register(name, port=81)
    warnings, text = once(ctemplate, consul, LOOP.format(name), tmp_path)
    assert (warnings, text) == ([], "81")


def test_a_state_in_the_place_of_the_tag_and_a_datacenter_in_that_of_the_name(tmp_path, consul, ctemplate):
    consul.register("web", port=80)
    text = '{% for i in service("web", "any") %}x{% endfor %}\n{% for s in services("@dc1") %}x{% endfor %}'
    warnings, _ = once(ctemplate, consul, text, tmp_path)
    assert warnings == [
        't.j2:1: service("web"): "any" is a state and taken for a tag; write service("web", status="any")',
        't.j2:2: no service has the tag "@dc1"; write services(dc="dc1") for what consul-template means by that',
    ]


def test_a_service_that_appears_later_ends_the_warning(tmp_path, consul, ctemplate):
    (tmp_path / "t.j2").write_text('{% for i in service("later") %}{{ i.port }}{% endfor %}')
    daemon = ctemplate("-template", "t.j2:out", "-state-dir", "state", "-consul-addr", consul.address)
    daemon.wait_for_log('WARNING t.j2:1: service("later"): no such service is known')
    consul.register("later", port=82)
    daemon.wait_for_log('INFO t.j2:1: service("later"): no such service is known: no longer so')
    wait_for(lambda: (tmp_path / "out").read_text() == "82", 10, "the port of the new service")


def test_a_tag_that_no_service_has_is_one_warning_with_the_one_that_is_meant(tmp_path, consul, ctemplate):
    consul.register("web", port=80, tags=["http"])
    (tmp_path / "t.j2").write_text('{% for s in services(tag="htp") %}{{ s.name }}{% endfor %}')
    daemon = ctemplate("-template", "t.j2:out", "-state-dir", "state", "-consul-addr", consul.address)
    said = 't.j2:1: no service has the tag "htp"; did you mean "http"?'
    daemon.wait_for_log(f"WARNING {said}")
    consul.register("late", port=81, tags=["htp"])
    daemon.wait_for_log(f"INFO {said}: no longer so")
    wait_for(lambda: (tmp_path / "out").read_text() == "late", 60, "the service with the tag")
