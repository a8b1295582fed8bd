"""Our reading of a configuration tree and nginx's own agree, and nginx's check of mirrored candidates."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from harness.ports import free_port
from harness.waiting import PATIENCE

from ctemplate.nginx.language.includes import load_tree
from ctemplate.nginx.mirror import mirror

pytestmark = pytest.mark.integration

NAMES = (
    "a.conf",
    "B.conf",
    ".hidden.conf",
    "b.conf~",
    "[x].conf",
    "a-b.conf",
    "a.conf.bak",
    "\u00e4.conf",
    "z",
    "9.conf",
)


@pytest.fixture
def live(tmp_path):
    (tmp_path / "prefix" / "logs").mkdir(parents=True)
    (tmp_path / "live" / "conf.d").mkdir(parents=True)
    (tmp_path / "stage").mkdir()
    return tmp_path / "live"


@pytest.fixture
def judge(tmp_path):
    def run(main, *options):
        prefix = tmp_path / "prefix"
        command = ["nginx", "-p", f"{prefix}/", "-c", str(main), "-e", "stderr", "-g", f"pid {prefix}/pid;", *options]
        done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
        return done.returncode, (done.stdout + done.stderr).decode(errors="surrogateescape")

    return run


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "*",
            "*.conf",
            "?.conf",
            "[ab]*.conf",
            "[!a]*.conf",
            "[^a]*",
            "[[:upper:]]*",
            ".*.conf",
            "[.]*.conf",
            "\\\\[x*",
            "[[]x*",
        ),
        "*[",
        "[x].conf",
        "a.conf",
        "\\\\*",
        "./*.conf",
        "../conf.d/*.conf",
        "[a-c].co[n]f",
        "{a,B}*",
        "**",
        "[",
        "no*",
    ],
)
def test_both_bring_the_same_files_in_the_same_order(live, judge, pattern):
    for name in NAMES:
        (live / "conf.d" / name).write_text("# nothing")
    (live / "nginx.conf").write_text(f'events {{}}\ninclude "conf.d/{pattern}";\n')
    code, output = judge(live / "nginx.conf", "-T")
    if code:
        assert "No such file or directory" in output
        return
    theirs = re.findall(r"^# configuration file (.*):$", output, re.MULTILINE)
    assert [str(path) for path in load_tree(live / "nginx.conf").sources] == [os.path.normpath(path) for path in theirs]


def test_relative_includes_count_from_the_main_file(live, judge):
    (live / "nginx.conf").write_text("events {} include conf.d/a.conf;")
    (live / "conf.d" / "a.conf").write_text("include b.conf;")
    (live / "b.conf").write_text("# nothing")
    assert judge(live / "nginx.conf", "-t", "-q") == (0, "")
    assert list(load_tree(live / "nginx.conf").sources)[-1] == live / "b.conf"


CERTIFICATE = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "2"]


@pytest.fixture
def site(live):
    """Everything that carries a path: certificates, logs, modules, includes of each kind."""
    subprocess.run(
        [*CERTIFICATE, "-keyout", live / "key.pem", "-out", live / "cert.pem"], capture_output=True, check=True
    )
    (live / "nginx.conf").write_text(
        f"""events {{}}
http {{
    access_log logs/access.log;
    include {live}/conf.d/*.conf;
    server {{
        listen 127.0.0.1:{free_port()} ssl;
        ssl_certificate cert.pem;
        ssl_certificate_key ../live/key.pem;
        auth_basic_user_file conf.d/users;
        include location;
    }}
}}
"""
    )
    (live / "location").write_text("location / { return 204; }")
    (live / "conf.d" / "a.conf").write_text("gzip on;\n")
    return live


def test_a_good_candidate_passes_in_the_mirror(site, judge, tmp_path):
    assert judge(site / "nginx.conf", "-t", "-q") == (0, "")
    copy = mirror(
        load_tree(site / "nginx.conf", replaced={site / "conf.d" / "new.conf": b"etag off;\n"}), tmp_path / "stage"
    )
    code, output = judge(copy.main, "-T")
    assert code == 0, output
    assert "etag off;" in output
    assert not (site / "conf.d" / "new.conf").exists()


def states(folder):
    found = {path: path.stat() for path in folder.rglob("*")}
    return {path: (state.st_ino, state.st_mode, state.st_size, state.st_mtime_ns) for path, state in found.items()}


@pytest.mark.parametrize("name", ["conf.d/a.conf", "conf.d/new.conf", "location", "nginx.conf"])
def test_a_broken_candidate_is_refused_with_the_original_path(site, judge, tmp_path, name):
    before = states(site)
    copy = mirror(load_tree(site / "nginx.conf", replaced={site / name: b"\ngarbage;"}), tmp_path / "stage")
    code, output = judge(copy.main, "-t", "-q")
    assert code == 1
    assert f'unknown directive "garbage" in {site}/{name}:2\n' in copy.translate(output)
    assert states(site) == before


def test_a_replaced_certificate_is_seen_by_relative_paths(site, judge, tmp_path):
    copy = mirror(load_tree(site / "nginx.conf", replaced={site / "cert.pem": b"no certificate"}), tmp_path / "stage")
    code, output = judge(copy.main, "-t", "-q")
    assert code == 1
    assert f'cannot load certificate "{site}/cert.pem"' in copy.translate(output)


def test_the_packaged_configuration_survives_mirroring(tmp_path):
    (tmp_path / "stage").mkdir()
    tree = load_tree(Path("/etc/nginx/nginx.conf"))
    copy = mirror(tree, tmp_path / "stage")
    assert [copy.original(path) for path in load_tree(copy.main).sources] == list(tree.sources)
