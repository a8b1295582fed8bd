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
EACH = '{%- for s in services() if s.name != "consul" %}\n'
EACH_UPSTREAM = f"""{EACH}upstream {{{{ s.name | identifier }}}} {{
{{% for i in service(s.name) %}}server {{{{ i.address }}}}:{{{{ i.port }}}};
{{% endfor %}}}}
{{% endfor %}}"""
EACH_SERVER = f"""{EACH}server {{ listen 127.0.0.1:1;
location / {{ proxy_pass http://{{{{ s.name | identifier }}}}; }} }}
{{% endfor %}}"""
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


def test_once_tells_of_no_saved_candidate_whose_error_another_group_mends(site, arguments, ctemplate):
    site(FIXED, UPSTREAM, ("server", "upstream"))
    once = ctemplate(*arguments, "-once")
    assert once.wait(60) == 0, once.log()
    assert "rejected candidate saved" not in once.log()


@pytest.mark.parametrize("order", [("server", "upstream"), ("upstream", "server")])
def test_once_tells_once_where_a_candidate_is_saved_whose_error_stays(site, arguments, ctemplate, order):
    site(FIXED, UPSTREAM.replace("upstream web", "upstream other"), order)
    once = ctemplate(*arguments, "-once")
    assert once.wait(60) == 1
    assert once.log().count("rejected candidate saved") == 1
    assert once.log().index("rejected candidate saved") < once.log().index("host not found in upstream")


@pytest.mark.parametrize(
    ("server", "order", "live"),
    [
        pytest.param(SERVER, ("server", "upstream"), (), id="registered"),
        pytest.param(SERVER, ("upstream", "server"), ("server", "upstream"), id="registered, with live files"),
        pytest.param(FIXED, ("server", "upstream"), ("server", "upstream"), id="fixed, with live files"),
        pytest.param(FIXED, ("server", "upstream"), (), id="fixed"),
        pytest.param(FIXED, ("upstream", "server"), ("server",), id="fixed, with one live file"),
    ],
)
def test_a_plan_judges_a_group_with_the_planned_files_of_the_others(site, arguments, ctemplate, server, order, live):  # noqa: PLR0917
    folder, saved = site(server, UPSTREAM, order), arguments[1].with_name("plan.json")
    for name in live:
        (folder / f"{name}.conf").write_text("# nothing\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    plan = ctemplate(*arguments, "plan", "-o", saved, name="plan")
    assert plan.wait(60) == 0, plan.output()
    assert plan.stdout().count("check: accepted") == 2
    assert "location / { proxy_pass http://web; }" in plan.stdout()
    assert "ERROR" not in plan.log()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    applied = ctemplate(*arguments, "apply", saved, name="apply")
    assert applied.wait(60) == 0, applied.log()
    assert "ERROR" not in applied.log()
    assert "proxy_pass http://web" in (folder / "server.conf").read_text()


@pytest.mark.parametrize("order", [("server", "upstream"), ("upstream", "server")])
def test_a_service_that_one_group_left_out_is_in_as_soon_as_another_has_its_upstream(
    site, arguments, consul, ctemplate, order
):
    folder = site(EACH_SERVER, EACH_UPSTREAM, order)
    assert ctemplate(*arguments, "-once", name="first").wait(60) == 0
    consul.catalog("api", "c", 8003)
    plan = ctemplate(*arguments, "plan", name="plan")
    assert plan.wait(60) == 0, plan.output()
    assert "+location / { proxy_pass http://api; } }" in plan.stdout()
    assert "left out" not in plan.stdout()
    once = ctemplate(*arguments, "-once", name="once")
    assert once.wait(60) == 0, once.log()
    assert "proxy_pass http://api;" in (folder / "server.conf").read_text()
    assert once.log().count("once: 2 written") == 1


def test_a_plan_does_not_count_on_the_files_of_a_group_that_stays_restored(site, arguments, consul, ctemplate):
    folder = site(EACH_SERVER, EACH_UPSTREAM, ("upstream", "server"))
    runs = iter(range(10))

    def ended(*more):
        program = ctemplate(*arguments, *more, name=f"run-{next(runs)}")
        return program.wait(60), program.output()

    assert ended("-once")[0] == 0
    consul.catalog("web", "b", 8002)
    assert ended("-once")[0] == 0
    assert ended("restore", "000001", folder / "upstream.conf")[0] == 0
    consul.catalog("api", "c", 8003)
    said = ended("plan")[1]
    assert "+upstream api {" in said
    assert "'api' would choose where 'proxy_pass' goes" in said
    assert "+server { listen" not in said


def test_a_plan_shows_the_error_that_no_planned_file_mends(site, arguments, ctemplate):
    folder = site(FIXED, UPSTREAM.replace("upstream web", "upstream other"), ("server", "upstream"))
    plan = ctemplate(*arguments, "plan")
    assert plan.wait(60) == 1
    assert plan.log().count('host not found in upstream "web"') == 1
    assert (plan.stdout().count("check: accepted"), plan.stdout().count("check: refused")) == (1, 1)
    assert not names(folder)


def test_a_plan_accepts_one_of_two_groups_that_define_the_same_upstream(site, arguments, ctemplate):
    site(UPSTREAM, UPSTREAM, ("server", "upstream"))
    plan = ctemplate(*arguments, "plan")
    assert plan.wait(60) == 1
    assert plan.stdout().count("check: accepted") == 1
    assert plan.log().count("ERROR") == 1


@pytest.mark.parametrize("order", [("server", "upstream"), ("upstream", "server")])
def test_a_dry_run_prints_a_group_with_the_files_of_the_others_around_it(site, arguments, ctemplate, order):
    folder = site(SERVER, UPSTREAM, order)
    dry = ctemplate(*arguments, "-dry")
    assert dry.wait(60) == 0, dry.log()
    assert "proxy_pass http://web;" in dry.stdout()
    assert "ERROR" not in dry.log()
    assert not names(folder)


def test_a_daemon_applies_a_group_again_once_another_has_defined_its_upstream(site, arguments, nginx, ctemplate):
    folder = site(SERVER, UPSTREAM, ("server", "upstream"))
    nginx.start()
    daemon = ctemplate(*arguments)
    daemon.wait_for(lambda: names(folder) == {"server.conf", "upstream.conf"}, 60, "both files")
