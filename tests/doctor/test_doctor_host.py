from pathlib import Path

import pytest

from ctemplate.core.errors import CheckRefused, CommandFailed
from ctemplate.doctor.nginx import NginxFacts, Stream, nginx_diagnoses, stream_of
from ctemplate.doctor.places import (
    DestinationFacts,
    FolderFacts,
    StateFacts,
    judged_destination,
    judged_selinux,
    judged_state,
)
from ctemplate.nginx.identity import FoundMaster
from ctemplate.nginx.language.includes import load_tree
from ctemplate.nginx.master import NoMaster, Process

BUILT_IN = Stream(is_built_in=True)
MASTER = FoundMaster(process=Process(pid=7, started=1))
RUNS = [
    "ok    nginx: version: 1.22.1",
    "ok    nginx: stream module: built in",
    "ok    /etc/nginx.conf: not written yet",
    "ok    nginx: master: runs as process 7",
]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param("--with-stream --with-debug", (True, False), id="built in"),
        pytest.param("--a --with-stream=dynamic --with-stream_ssl_module", (False, True), id="module"),
        pytest.param("--with-stream_ssl_module", (False, False), id="neither"),
    ],
)
def test_the_build_tells_of_the_stream_module(output, expected):
    assert stream_of(output.split()) == expected


OLD_STAY = (
    "old workers stay as long as their connections; "
    "set it at the top of the configuration, such as worker_shutdown_timeout 5m;"
)


def nginx_lines(**facts):
    given = {
        "name": "nginx",
        "version": (1, 22, 1),
        "conf": "/etc/nginx.conf",
        "stream": BUILT_IN,
        "wants_stream": True,
        "master": MASTER,
    }
    return [str(line) for line in nginx_diagnoses(NginxFacts(**(given | facts)))]


LUA = CheckRefused(
    "/etc/nginx.conf", "nginx -t: exit status 1", output=("nginx: [emerg] undefined symbol: lua_setexdata",)
)
UNKNOWN = CheckRefused(
    "/etc/nginx.conf", "nginx -t: exit status 1", output=('[emerg] host not found in upstream "web"', "write one")
)
UNKNOWN_WORDS = '/etc/nginx.conf: nginx -t: exit status 1: [emerg] host not found in upstream "web"; write one; '


@pytest.mark.parametrize(
    ("facts", "number", "expected"),
    [
        pytest.param({}, 0, RUNS[0], id="well"),
        pytest.param(
            {"refusal": UNKNOWN},
            2,
            f"error {UNKNOWN_WORDS}correct it; every candidate is judged together with it",
            id="a name that nothing defines",
        ),
        pytest.param(
            {"refusal": UNKNOWN, "unwritten": ("/etc/nginx/conf.d/s.conf",)},
            2,
            f"warn  {UNKNOWN_WORDS}"
            "if /etc/nginx/conf.d/s.conf, not written yet, defines the name, all is well: ctemplate plan shows it",
            id="a name that a file of ours may define",
        ),
        pytest.param({"version": (1, 14)}, 0, "warn  nginx: version: 1.14; 1.18 and newer are known to work", id="old"),
        pytest.param(
            {"stream": Stream(module="/m.so", exists=True)}, 1, "ok    nginx: stream module: /m.so", id="module"
        ),
        pytest.param(
            {"stream": Stream(module="/m.so")},
            1,
            "error nginx: stream module: /m.so does not exist, and a template writes a stream block; "
            "install libnginx-mod-stream or its like",
            id="module missing",
        ),
        pytest.param(
            {"stream": Stream(), "wants_stream": False},
            1,
            "ok    nginx: stream module: not built, and no template needs it",
            id="module not needed",
        ),
        pytest.param(
            {"refusal": LUA},
            2,
            "error /etc/nginx.conf: nginx -t: exit status 1: nginx: [emerg] undefined symbol: lua_setexdata; "
            "install libluajit2-5.1-2; the other LuaJIT lacks what the Lua module needs",
            id="lua",
        ),
        pytest.param(
            {"master": NoMaster(reason="/run/nginx.pid does not exist")},
            3,
            "warn  nginx: master: does not run: /run/nginx.pid does not exist; "
            "start it; files are written, and the reload is deferred",
            id="no master",
        ),
        pytest.param(
            {
                "master": FoundMaster(
                    process=Process(pid=7, started=1), how="/p does not exist; process 7 is its master"
                )
            },
            3,
            "warn  nginx: master: runs as process 7, found in the process table: /p does not exist; process 7 is its "
            "master; correct the pid file; nginx's own -s and most init scripts need it",
            id="master of the process table",
        ),
        pytest.param(
            {"master": NoMaster(reason="/p does not exist", suspects=("process 8 runs with /a, not /b",))},
            3,
            "warn  nginx: master: is not found: /p does not exist; process 8 runs with /a, not /b; name the "
            "configuration in the reload command or in the group's nginx key, or start nginx with it",
            id="another nginx",
        ),
        pytest.param(
            {"may_signal": False},
            3,
            "error nginx: master: runs as process 7, which this user may not signal; give ctemplate CAP_KILL, or a "
            "reload command that has the right, such as sudo -n nginx -s reload",
            id="no right to signal",
        ),
        pytest.param(
            {"master": CommandFailed("/run/nginx.pid", "process 7 cannot be used; do this")},
            3,
            "error nginx: master: /run/nginx.pid: process 7 cannot be used; do this",
            id="master out of reach",
        ),
    ],
)
def test_a_fact_about_nginx_is_told_with_what_to_do(facts, number, expected):
    found = nginx_lines(**facts)
    assert found[number] == expected
    assert found[:number] + found[number + 1 :] == RUNS[:number] + RUNS[number + 1 :]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("http {}", [], id="nothing that lasts"),
        pytest.param("worker_shutdown_timeout 9s; stream {}", ["ok    worker_shutdown_timeout: 9s"], id="set"),
        pytest.param(
            "stream {} http { proxy_set_header Upgrade $u; }",
            [f"warn  worker_shutdown_timeout: not set, and there are stream servers and websockets: {OLD_STAY}"],
            id="not set",
        ),
        pytest.param(
            "http { server { server_name a b; } }",
            ["ok    server_names_hash_max_size: the default is enough for 2 names"],
            id="names",
        ),
    ],
)
def test_the_live_configuration_is_looked_through(tmp_path, text, expected):
    conf = tmp_path / "nginx.conf"
    conf.write_text(text)
    assert nginx_lines(tree=load_tree(conf))[4:] == expected


def folder(path="/etc/nginx", **facts):
    given = {"existing": Path(path), "is_folder": True, "is_writable": True, "free_bytes": 1 << 30}
    return FolderFacts(path=Path(path), **(given | facts))


FILE = Path("/etc/nginx/nginx.conf")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({}, ["ok    /etc/nginx/nginx.conf: can be replaced"], id="file"),
        pytest.param({"kind": "nothing"}, ["ok    /etc/nginx/nginx.conf: can be written"], id="new"),
        pytest.param(
            {"real": Path("/srv/n.conf")},
            ["ok    /etc/nginx/nginx.conf: can be replaced, a link to /srv/n.conf"],
            id="link",
        ),
        pytest.param(
            {"kind": "a folder"}, ["error /etc/nginx/nginx.conf: is a folder; give a path for a file"], id="folder"
        ),
        pytest.param(
            {"folder": folder(is_writable=False)},
            ["error /etc/nginx: no right to write into /etc/nginx; give the user of ctemplate write access to it"],
            id="no right",
        ),
        pytest.param(
            {"folder": folder(is_folder=False, existing=Path("/etc"))},
            ["error /etc/nginx: /etc is no folder; give a path below a folder"],
            id="below a file",
        ),
        pytest.param(
            {"folder": folder(free_bytes=2048)}, ["error /etc/nginx: 2 KiB free on its disk; make room"], id="full"
        ),
        pytest.param(
            {"owner_fault": "no user named 'x'", "caught_by": ("a:1: *",), "holder": "process 9"},
            [
                "ok    /etc/nginx/nginx.conf: can be replaced",
                "error /etc/nginx/nginx.conf: no user named 'x'; correct the owner, or run ctemplate as root",
                f"error {FILE}: its candidate would be included by a:1: *; narrow the pattern, such as to *.conf",
                f"warn  {FILE}: is held by another ctemplate, process 9; a second one on it would not start",
            ],
            id="several",
        ),
        pytest.param(
            {"holder": "process 9", "is_held_by_ours": True},
            [
                "ok    /etc/nginx/nginx.conf: can be replaced",
                f"ok    {FILE}: is written by the running ctemplate, process 9",
            ],
            id="beside its daemon",
        ),
    ],
)
def test_a_destination_is_told_with_what_to_do(facts, expected):
    given = {"path": FILE, "real": FILE, "kind": "file", "folder": folder()}
    assert [str(line) for line in judged_destination(DestinationFacts(**(given | facts)))] == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        pytest.param({"folder": folder("/s")}, "ok    state folder /s: can be used", id="there"),
        pytest.param(
            {"folder": folder("/s", existing=Path("/"))},
            "ok    state folder /s: does not exist yet and can be made",
            id="to be made",
        ),
        pytest.param(
            {"folder": folder("/s"), "is_open": True},
            "error state folder /s: is writable by everybody; give it mode 0700",
            id="open",
        ),
    ],
)
def test_the_state_folder_is_told_with_what_to_do(facts, expected):
    assert [str(line) for line in judged_state(StateFacts(**facts))] == [expected]


@pytest.mark.parametrize(("mode", "count"), [("1\n", 1), ("0\n", 0), ("", 0)])
def test_selinux_is_a_hint_where_it_enforces(mode, count):
    assert len(list(judged_selinux(mode))) == count
