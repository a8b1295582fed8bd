"""Two groups of one nginx, of which one names the upstream that the other defines, on a host that has neither file."""

import pytest

SERVER = """\
server {
    listen 127.0.0.1:1;
{% for s in services() if s.name == "web" %}
    location / { proxy_pass http://{{ s.name | identifier }}; }
{% endfor %}
}
"""
FIXED = "server { listen 127.0.0.1:1; location / { proxy_pass http://web; } }\n"
UPSTREAM = 'upstream web { {% for i in service("web") %}server {{ i.address }}:{{ i.port }}; {% endfor %} }\n'
GROUP = """
[[group]]
name = "{name}"
reload = "{reload}"
[[template]]
source = "{name}.j2"
destination = "{folder}/{name}.conf"
group = "{name}"
"""


@pytest.fixture
def site(tmp_path, nginx, consul):
    """Write a configuration with the groups in an order; return the folder of nginx's files."""

    def write(server, upstream, order):
        folder = nginx.prefix / "conf.d"
        folder.mkdir()
        nginx.conf.write_text(f"{nginx.main}http {{\n{nginx.http}include {folder}/*.conf;\n}}\n")
        (tmp_path / "server.j2").write_text(server)
        (tmp_path / "upstream.j2").write_text(upstream)
        groups = (GROUP.format(name=name, reload=nginx.reload_command, folder=folder) for name in order)
        (tmp_path / "ctemplate.toml").write_text("".join(groups))
        consul.catalog("web", "a", 8001)
        return folder

    return write


@pytest.fixture
def arguments(tmp_path, consul):
    return ("-config", tmp_path / "ctemplate.toml", "-consul-addr", consul.address)


def names(folder):
    return {path.name for path in folder.glob("*.conf")}


@pytest.mark.parametrize("order", [("server", "upstream"), ("upstream", "server")])
@pytest.mark.parametrize("server", [SERVER, FIXED], ids=["registered", "fixed"])
def test_once_writes_both_whatever_the_order_and_reports_no_error(site, arguments, ctemplate, order, server):
    folder = site(server, UPSTREAM, order)
    once = ctemplate(*arguments, "-once")
    assert once.wait(60) == 0, once.log()
    assert names(folder) == {"server.conf", "upstream.conf"}
    assert "ERROR" not in once.log()


def test_once_reports_each_error_that_no_other_group_mends_once(site, arguments, ctemplate):
    folder = site(SERVER, UPSTREAM.replace("upstream web", "upstream other"), ("server", "upstream"))
    once = ctemplate(*arguments, "-once")
    assert once.wait(60) == 1
    assert names(folder) == {"upstream.conf"}
    assert once.log().count("names no upstream of this configuration") == 1


def test_a_daemon_applies_a_group_again_once_another_has_defined_its_upstream(site, arguments, nginx, ctemplate):
    folder = site(SERVER, UPSTREAM, ("server", "upstream"))
    nginx.start()
    daemon = ctemplate(*arguments)
    daemon.wait_for(lambda: names(folder) == {"server.conf", "upstream.conf"}, 60, "both files")
