"""No wake-up is lost: groups with the same queries are all applied, whatever the order of answers and renders."""

import os
from pathlib import Path

import pytest
from harness import Ctemplate, wait_for

STARTS = int(os.environ.get("CTEMPLATE_STARTS", "20"))  # 200 are a campaign; the fault that was there failed each start

MAIN = """
http {{
{http}
upstream web {{
    {{% for i in service("web") %}}
    server {{{{ i.address }}}}:{{{{ i.port }}}};
    {{% else %}}
    server 127.0.0.1:9;
    {{% endfor %}}
}}
}}
"""
OTHER = '{% for i in service("web") %}{{ i.address }}:{{ i.port }} {% endfor %}'


@pytest.fixture
def groups(tmp_path, nginx, consul):
    """The arguments for two groups over one service: nginx's main file with its reload, and a file without command."""
    main, other = tmp_path / "nginx.conf.j2", tmp_path / "other.j2"
    main.write_text(nginx.main + MAIN.format(http=nginx.http))
    other.write_text(OTHER)
    consul.catalog("web", "a", 8001)
    return (
        *("-consul-addr", consul.address),
        *("-template", f"{main}:{nginx.conf}:{nginx.reload_command}"),
        *("-template", f"{other}:{tmp_path / 'other'}"),
    )


def test_both_groups_come_live_at_every_start(tmp_path, groups, nginx, monkeypatch):
    files = (nginx.conf, tmp_path / "other")
    for number in range(STARTS):
        monkeypatch.setenv("CTEMPLATE_BY_EXEC", "1" if number % 2 else "")  # half import what a fork has loaded
        for file in files:
            file.unlink(missing_ok=True)
        once = Ctemplate(tmp_path / str(number), "-once", "-timeout", "60s", *groups)
        try:
            status = once.start().wait(120)
        finally:
            once.kill()
        assert (status, [file.exists() for file in files]) == (0, [True, True]), f"start {number}\n{once.log()}"


def test_both_groups_of_a_daemon_follow_every_change(tmp_path, groups, nginx, consul, ctemplate):
    other = tmp_path / "other"
    daemon = ctemplate(*groups)
    daemon.wait_for(lambda: nginx.conf.exists() and other.exists(), 60, "both files")
    for port in range(8002, 8012):
        consul.catalog("web", "a", port)
        for file in (nginx.conf, other):
            daemon.wait_for(lambda file=file, port=port: f":{port}" in Path(file).read_text(), 30, f"{port} in {file}")


@pytest.mark.parametrize("count", [2])
def test_groups_of_nginx_each_get_a_new_service(tmp_path, nginx, consul, ctemplate, count):
    """A template over all services asks for each new one; another group asks for the same a moment later."""
    args, outputs = [], []
    for number in range(count):
        template, output = tmp_path / f"{number}.j2", tmp_path / f"{number}.conf"
        template.write_text(
            "{% for s in services() %}{% for i in service(s.name) %}{{ i.port }} {% endfor %}{% endfor %}"
        )
        command = nginx.reload_command if number == 0 else "true"
        args += ["-template", f"{template}:{output}:{command}"]
        outputs.append(output)
    nginx.conf.write_text(f"{nginx.main}http {{\n{nginx.http}}}\n")
    daemon = ctemplate("-consul-addr", consul.address, *args)
    for number in range(10):
        consul.catalog(f"new-{number}", "a", 9000 + number)
        for output in outputs:
            what = f"service {number} in {output}"
            wait_for(lambda o=output, n=number: o.exists() and f"{9000 + n}" in o.read_text(), 30, what, log=daemon.log)
