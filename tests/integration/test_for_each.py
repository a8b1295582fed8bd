"""One file for each service, key or node, on a real Consul and a real nginx."""

import json
import socket
from pathlib import Path

import pytest
from harness import free_port, http_get, wait_for

LIMIT = 60
SITE = """\
{% for i in service(item.name) %}
server {
    listen 127.0.0.1:{{ i.meta.listen or var.port }};
    server_name {{ item.name | identifier }}.test;
    return 200 "site {{ item.name | identifier }}";
}
{% endfor %}
"""
CONFIG = """\
vars = {{ port = "{port}" }}
[consul]
address = "{consul}"
[[group]]
name = "nginx"
reload = "{reload}"
min_interval = "100ms"
max_draining = 1000
[[template]]
source = "main.j2"
destination = "{conf}"
group = "nginx"
[[template]]
source = "site.j2"
for_each = "services(tag='http')"
destination = "{sites}/{{{{ item.name | identifier }}}}.conf"
group = "nginx"
"""
MAIN = """{top}
# {{{{ services() | length }}}} services
http {{
{http}
server {{ listen 127.0.0.1:{port} default_server; return 404 nobody; }}
include {sites}/*.conf;
}}
"""


class Sites:
    """An nginx whose sites are the services tagged http; the main file is in the same group."""

    def __init__(self, folder: Path, consul, nginx, start):
        self.folder, self.consul, self.nginx, self.start = folder, consul, nginx, start
        self.port = free_port()
        self.folder_of_sites = nginx.prefix / "sites"
        self.folder_of_sites.mkdir()
        names = {"port": self.port, "sites": self.folder_of_sites, "conf": nginx.conf}
        (folder / "site.j2").write_text(SITE)
        (folder / "main.j2").write_text(MAIN.format(top=nginx.main, http=nginx.http, **names))
        config = CONFIG.format(consul=consul.address, reload=nginx.reload_command, **names)
        (folder / "ctemplate.toml").write_text(config)
        self.register("web", "api")
        assert self.run("-once").wait(LIMIT) == 0
        nginx.start()

    def run(self, *args, verb=(), name="ctemplate"):
        return self.start(*verb, "-config", "ctemplate.toml", *args, name=name)

    def register(self, *names, **fields):
        for name in names:
            self.consul.register(name, tags=["http"], port=8000, address="10.0.0.1", **fields)

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder_of_sites.iterdir() if not path.name.startswith(".")}

    def listed(self, port: int) -> set[str]:
        (group,) = json.loads(http_get(port, "/status")[1])["groups"]
        return {Path(file).name for file in group["files"]}

    def answers(self, name: str) -> bool:
        return http_get(self.port, host=f"{name}.test") == (200, f"site {name}")


@pytest.fixture
def sites(tmp_path, consul, nginx, ctemplate):
    return Sites(tmp_path, consul, nginx, ctemplate)


def test_sites_come_and_go_with_their_services_and_nginx_runs_them(sites):
    own = sites.folder_of_sites / "own.conf"
    own.write_text("# by hand\n")
    process = sites.run("-status-addr", str(port := free_port()))
    sites.register("own", "evil;{}", "new")
    process.wait_for(lambda: len(sites.files) == 5, LIMIT, "the new sites")
    wait_for(lambda: sites.answers("new"), LIMIT, "the new site in nginx")
    assert own.read_text() == "# by hand\n"
    assert [path.parent for path in sites.folder.rglob("*evil*.conf")] == [sites.folder_of_sites]
    process.wait_for(lambda: "own.conf: already exists and was not written" in process.output(), LIMIT, "the warning")
    own.unlink()
    process.wait_for(lambda: own.exists() and "own.test" in own.read_text(), LIMIT, "the site in place of the file")
    listed = {"nginx.conf", *sites.files}
    process.wait_for(lambda: sites.listed(port) == listed, LIMIT, "the files in the status")
    (sites.folder_of_sites / "api.conf").unlink()
    process.wait_for(lambda: "api.conf" in sites.files, LIMIT, "the file that was removed by hand")
    sites.consul.deregister("web")
    process.wait_for(lambda: "web.conf" not in sites.files, LIMIT, "the end of the site")
    wait_for(lambda: not sites.answers("web"), LIMIT, "the end of the site in nginx")
    assert sites.answers("api")
    process.wait_for(lambda: "web.conf: removed, since its item is gone" in process.output(), LIMIT, "the log line")


def test_a_consul_that_lost_its_data_removes_no_file(sites):
    process = sites.run()
    process.wait_for(lambda: "started" in process.output(), LIMIT, "the start")
    sites.consul.kill()
    sites.consul.restart(keep_data=False)
    process.wait_for(lambda: "WARNING held: " in process.output(), LIMIT, "the hold")
    assert sites.files == {"web.conf", "api.conf"}
    assert sites.answers("web")


def test_whose_site_nginx_refuses_gets_none_and_the_others_go_on(sites):
    process = sites.run()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sites.register("bad", meta={"listen": str(taken.getsockname()[1])})
        sites.register("good")
        sites.consul.deregister("web")
        process.wait_for(lambda: sites.files == {"api.conf", "good.conf"}, LIMIT, "the others' sites")
        process.wait_for(lambda: "service 'bad': refused: nginx: " in process.output(), LIMIT, "who is left out")
        wait_for(lambda: sites.answers("good"), LIMIT, "the new site in nginx")


def test_a_killed_daemon_leaves_nothing_behind_that_the_next_one_does_not_know(sites):
    process = sites.run()
    process.wait_for(lambda: "started" in process.output(), LIMIT, "the start")
    sites.register("more")
    process.wait_for(lambda: "more.conf" in sites.files, LIMIT, "the new site")
    process.kill()
    sites.consul.deregister("more")
    sites.register("next")
    assert sites.run("-once", name="again").wait(LIMIT) == 0
    assert sites.files == {"web.conf", "api.conf", "next.conf"}
    assert sites.answers("next")
    assert not sites.answers("more")


def test_a_plan_shows_what_goes_and_is_carried_out_as_it_was_made(sites):
    sites.consul.deregister("web")
    planned = sites.run("-o", "plan.json", verb=("plan",), name="plan")
    assert planned.wait(LIMIT) == 0
    assert f"--- {sites.folder_of_sites}/web.conf (live)" in planned.output()
    assert "+++ (no file)" in planned.output()
    sites.register("more")
    late = sites.run("plan.json", verb=("apply",), name="late")
    assert late.wait(LIMIT) == 1
    assert "would now be something else than what was planned" in late.output()
    assert sites.files == {"web.conf", "api.conf"}
    sites.consul.deregister("more")
    applied = sites.run("plan.json", verb=("apply",), name="applied")
    assert applied.wait(LIMIT) == 0, applied.output()
    assert sites.files == {"api.conf"}


@pytest.mark.parametrize(
    ("items", "name", "expected"),
    [
        ("tree('sites')", "{{ item.key | replace('/', '-') }}.txt", {"a.txt": "one", "b-c.txt": "two"}),
        ("nodes()", "{{ item.name }}.txt", {"node1.txt": ""}),
    ],
    ids=["keys", "nodes"],
)
def test_keys_and_nodes_have_files_as_well(consul, tmp_path, ctemplate, items, name, expected):  # noqa: PLR0917
    consul.api("PUT", "/v1/kv/sites/a", "one")
    consul.api("PUT", "/v1/kv/sites/b/c", "two")
    node = consul.api("GET", "/v1/agent/self")["Config"]["NodeName"]
    (tmp_path / "t.j2").write_text("{{ item.value | default('') }}")
    (tmp_path / "c.toml").write_text(
        f'[consul]\naddress = "{consul.address}"\n[[template]]\nsource = "t.j2"\nfor_each = "{items}"\n'
        f'destination = "{tmp_path}/out/{name}"\nescape = "none"\n'
    )
    process = ctemplate("-config", "c.toml", "-once")
    assert process.wait(LIMIT) == 0, process.output()
    found = {path.name.replace(node, "node1"): path.read_text() for path in (tmp_path / "out").glob("*.txt")}
    assert found == expected
    consul.api("DELETE", "/v1/kv/sites/a")
    again = ctemplate("-config", "c.toml", "-once", name="again")
    assert again.wait(LIMIT) == 0, again.output()
    assert {path.name.replace(node, "node1") for path in (tmp_path / "out").glob("*.txt")} == expected.keys() - {
        "a.txt"
    }


def test_a_check_of_ones_own_does_not_see_a_file_to_be_removed(tmp_path, ctemplate):
    (tmp_path / "ctemplate.toml").write_text(
        'catalog = "catalog.json"\nstate_dir = "state"\n'
        '[[group]]\nname = "json"\ncheck = "python3 -m json.tool {candidate} /dev/null"\nreload = "true"\n'
        '[[template]]\nsource = "each.j2"\nfor_each = "services()"\ndestination = "out/{{ item.name }}.json"\n'
        'group = "json"\n'
    )
    (tmp_path / "each.j2").write_text("[{{ service(item.name) | length }}]")
    one = {"address": "10.0.0.1", "port": 80}
    for number, services in enumerate(({"a": [one], "b": [one]}, {"a": [one, {**one, "port": 81}]}, {})):
        catalog = {name: {"instances": found} for name, found in services.items()}
        (tmp_path / "catalog.json").write_text(json.dumps({"services": catalog}))
        process = ctemplate("-config", "ctemplate.toml", "-once", name=f"run-{number}")
        assert process.wait(LIMIT) == 0, process.output()
        lengths = {f"{name}.json": f"[{len(found)}]" for name, found in services.items()}
        assert {path.name: path.read_text() for path in (tmp_path / "out").glob("[!.]*")} == lengths
