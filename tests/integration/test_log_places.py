"""The targets of a running ctemplate's log, and the receivers of its events; without Consul."""

import json
import os
import subprocess
import sys

from harness import wait_for

LIMIT = 60.0
CATALOG = "services:\n  web:\n    instances:\n      - {{address: 10.0.0.1, port: {port}}}\n"


def site(folder, more=""):
    """Write a site with one file and return its configuration."""
    (folder / "catalog.yaml").write_text(CATALOG.format(port=80))
    (folder / "t.j2").write_text("{% for i in service('web') %}\nserver {{ i.address }}:{{ i.port }};\n{% endfor %}\n")
    config = folder / "c.toml"
    config.write_text(
        f'catalog = "catalog.yaml"\n{more}\n'
        f'[[template]]\nsource = "t.j2"\ndestination = "{folder}/out"\nescape = "none"\n'
    )
    return config


def read(file):
    return file.read_text() if file.exists() else ""


def test_a_daemon_writes_a_file_that_may_be_moved_and_tells_a_command(tmp_path, ctemplate):
    log, told = tmp_path / "c.log", tmp_path / "told"
    command = json.dumps(["sh", "-c", f'printf "%s\\n" "$CTEMPLATE_EVENT" >> {told}'])
    hook = f'[on_event]\ncommand = {command}\nevents = ["started", "applied", "stopped"]\n'
    daemon = ctemplate("-config", site(tmp_path, f'log_file = "{log}"\n{hook}'))
    wait_for(lambda: "applied, +1 -0 lines, +1 -0 servers" in read(log), LIMIT, "the log", log=daemon.log)
    log.rename(tmp_path / "c.log.1")
    (tmp_path / "catalog.yaml").write_text(CATALOG.format(port=81))
    wait_for(lambda: "applied, +1 -1 lines" in read(log), LIMIT, "a new file", log=daemon.log)
    daemon.stop()
    names = [json.loads(line)["event"] for line in told.read_text().splitlines()]
    assert names == ["started", "applied", "applied", "stopped"]
    assert log.read_text().splitlines()[-1].endswith("INFO stopped")


def test_a_start_with_a_broken_template_is_told_too(tmp_path, ctemplate):
    told = tmp_path / "told"
    command = json.dumps(["sh", "-c", f'echo "$CTEMPLATE_EVENT_NAME" >> {told}'])
    config = site(tmp_path, f'[on_event]\ncommand = {command}\nevents = ["templates_refused"]\n')
    daemon = ctemplate("-config", config)
    wait_for(lambda: "applied" in daemon.log(), LIMIT, "the first file", log=daemon.log)
    daemon.stop()
    (tmp_path / "t.j2").write_text("{% if")
    daemon = ctemplate("-config", config)
    wait_for(lambda: "templates_refused" in read(told), LIMIT, "the event", log=daemon.log)


def run_once(folder, *more, **environ):
    command = [sys.executable, "-m", "ctemplate", "-once", "-config", folder / "c.toml", "-state-dir", folder / "state"]
    return subprocess.run([*command, *more], capture_output=True, text=True, check=True, env=os.environ | environ)


def test_once_says_what_it_did_also_when_that_is_nothing(tmp_path):
    site(tmp_path)
    with (tmp_path / "c.toml").open("a") as config:
        config.write(f'[[template]]\nsource = "t.j2"\ndestination = "{tmp_path}/other"\nescape = "none"\n')
    first, second = run_once(tmp_path).stderr, run_once(tmp_path).stderr
    assert first.splitlines()[-1].endswith("INFO once: 2 applied")
    assert [line.partition(" INFO ")[2] for line in second.splitlines()] == [
        f"{tmp_path}/out: unchanged, as rendered",
        f"{tmp_path}/other: unchanged, as rendered",
        "once: nothing to do, 2 unchanged",
    ]


def test_lines_for_the_journal_have_their_priority(tmp_path):
    site(tmp_path)
    with (tmp_path / "stderr").open("w") as stderr:
        status = os.fstat(stderr.fileno())
        command = [
            sys.executable,
            "-m",
            "ctemplate",
            "-once",
            "-config",
            tmp_path / "c.toml",
            "-state-dir",
            tmp_path / "s",
        ]
        subprocess.run(
            command, stderr=stderr, check=True, env=os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        )
    lines = (tmp_path / "stderr").read_text().splitlines()
    assert lines
    assert all(line.startswith("<6>2") for line in lines)
