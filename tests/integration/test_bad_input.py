"""Mistakes of operators: one line that names the place, the right exit code, and no written file."""

import http.server
import re
import threading
from functools import partial

import pytest
from harness import free_port, once_that_says

NO_TEXT = "is not UTF-8: byte 0xff; save the file as UTF-8"
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", re.MULTILINE)
GOOD = "services: {web: {tags: [http], instances: [{address: 10.0.0.1, port: 80}]}}\n"
KEPT = "it is retried until it answers"
NO_TEMPLATE = (
    "-template: no template given; write -config and the file or folder that has a [[template]], such as "
    "-config /etc/ctemplate, or -template SRC:DST:CMD"
)
TEMPLATE = '[[template]]\nsource = "good.j2"\ndestination = "out"\n'


@pytest.fixture
def folder(tmp_path):
    """The folder where ctemplate runs, with a good template and a good catalog."""
    (tmp_path / "good.j2").write_text("{% for s in services() %}{{ s.name }}\n{% endfor %}")
    (tmp_path / "good.yaml").write_text(GOOD)
    return tmp_path


@pytest.fixture
def told(folder, ctemplate):
    """Run ctemplate to its end: its exit status and stderr without time stamps, once nothing was written."""

    def run(*args, env=None):
        before = contents(folder)
        process = ctemplate(*args, env=env)
        status = process.wait(20)
        assert contents(folder) == before
        assert process.stdout() == ""
        return status, STAMP.sub("", process.stderr())

    return run


def contents(folder):
    """Return every file under the folder but ctemplate's own output and state."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name not in {"ctemplate.out", "ctemplate.err"} and "state" not in path.parts
    }


GOOD_ARGS = ("-template", "good.j2:out", "-catalog", "good.yaml", "-once")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(
            ["-tempate", "good.j2:out"],
            "ctemplate: no such option -tempate; did you mean -template?",
            id="mistyped-option",
        ),
        pytest.param(
            [*GOOD_ARGS, "--log-levle", "info"],
            "ctemplate: no such option --log-levle; did you mean -log-level?",
            id="mistyped-after-good-ones",
        ),
        pytest.param(["-xyzzy"], "ctemplate: no such option -xyzzy; see ctemplate -help", id="unknown-option"),
        pytest.param(
            ["-template"], "ctemplate: option '-template' requires an argument; see ctemplate -help", id="no-argument"
        ),
        pytest.param(
            [*GOOD_ARGS, "extra"], "ctemplate: no such command 'extra'; see ctemplate -help", id="unknown-command"
        ),
        pytest.param(
            ["-once"],
            NO_TEMPLATE,
            id="no-template",
        ),
        pytest.param(["doctor"], NO_TEMPLATE, id="doctor of nothing"),
        pytest.param(["restore"], NO_TEMPLATE, id="restore of nothing"),
        pytest.param(
            ["-template", ""], "-template: the source is empty, got ''; write SRC[:DST[:CMD]]", id="empty-template"
        ),
        pytest.param(
            ["-template", "good.j2::reload"],
            "-template: the destination is empty, got 'good.j2::reload'; write SRC:DST:CMD",
            id="command-without-destination",
        ),
        pytest.param(
            ["-template", "good.j2", "-once"],
            "template[0] (good.j2): has no destination; write SRC:DST, or add -dry to print it",
            id="no-destination",
        ),
        pytest.param(
            ["-template", "good.j2"],
            "template[0] (good.j2): has no destination; write SRC:DST, or add -dry to print it",
            id="no-destination-daemon",
        ),
        pytest.param(
            [*GOOD_ARGS, "-template", "good.j2:./out"],
            "out: two templates write it: good.j2, good.j2",
            id="duplicate-destination",
        ),
        pytest.param([*GOOD_ARGS, "-wait", "5"], "-wait: needs a unit, got '5'; write 5s for seconds", id="no-unit"),
        pytest.param(
            [*GOOD_ARGS, "-wait", "5s:1s"], "-wait: max must be at least min (5s), got '1s'", id="wait-backwards"
        ),
        pytest.param(
            [*GOOD_ARGS, "-timeout", "soon"],
            "-timeout: must be a duration like 250ms, 5s or 1m30s, got 'soon'",
            id="no-duration",
        ),
        pytest.param(
            [*GOOD_ARGS, "-log-level", "loud"],
            "-log-level: must be debug, info, warning or error, got 'loud'",
            id="log-level",
        ),
        pytest.param(
            [*GOOD_ARGS, "-log-format", "xml"], "-log-format: must be text or json, got 'xml'", id="log-format"
        ),
        pytest.param(
            [*GOOD_ARGS, "-max-connections", "many"],
            "-max-connections: must be a whole number, got 'many'",
            id="no-number",
        ),
        pytest.param(
            [*GOOD_ARGS, "-max-connections", "3"],
            "-max-connections: must be a whole number of at least 8, got '3'",
            id="number-too-small",
        ),
        pytest.param(
            [*GOOD_ARGS, "-var", "x"], "-var: must be NAME=VALUE, got 1 character without '='", id="var-without-value"
        ),
        pytest.param(
            [*GOOD_ARGS, "-var", "a b=x"],
            "-var: must be NAME=VALUE with a plain name, got the name 'a b'",
            id="var-with-strange-name",
        ),
        pytest.param(
            [*GOOD_ARGS, "-config", "none.toml"], "none.toml: cannot be read: no such file or directory", id="no-config"
        ),
        pytest.param(
            ["-template", "good.j2:out", "-catalog", "none.yaml", "-once"],
            "none.yaml: cannot be read: no such file or directory",
            id="no-catalog",
        ),
        pytest.param(
            ["-template", "good.j2:out", "-pid-file", "none/pid", "-catalog", "good.yaml"],
            "-pid-file: none/pid cannot be written: no such file or directory",
            id="pid-file",
        ),
        pytest.param(
            ["-template", "good.j2:out", "-consul-addr", "ftp://here", "-once"],
            "consul address 'ftp://here': the scheme must be http, https or unix",
            id="consul-scheme",
        ),
        pytest.param(
            ["-template", "good.j2:out", "-consul-addr", "host:99999", "-once"],
            "consul address 'host:99999': the port must be 1 to 65535",
            id="consul-port",
        ),
        pytest.param(
            ["-template", "good.j2:out", "-consul-addr", "user:hidden@host", "-once"],
            "consul address: user and password do not belong into an address, use the auth setting",
            id="consul-password-in-address",
        ),
        pytest.param(
            ["-template", "good.j2:out", "-consul-ssl", "-consul-ssl-ca-cert", "none.pem", "-once"],
            "consul CA none.pem: no such file or directory",
            id="ca-file",
        ),
        pytest.param(
            ["-template", "good.j2:out", "-consul-token-file", "none.token", "-once"],
            "consul token file none.token: no such file or directory",
            id="token-file",
        ),
    ],
)
def test_wrong_option_is_one_line_and_nothing_is_written(told, args, message):
    assert told(*args) == (2, message + "\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("c.toml", "x = ", "c.toml: is not TOML: invalid value (at end of document)", id="toml"),
        pytest.param("c.json", '{"a": }', "c.json:1:7: is not JSON: expecting value", id="json"),
        pytest.param("c.json", "[]", "c.json: must hold a table, got list", id="no-table"),
        pytest.param("c.toml", b"\xff", f"c.toml:1:1: {NO_TEXT}", id="no-text"),
        pytest.param(
            "c.toml",
            '[[template]]\nsourse = "good.j2"\n',
            "c.toml: template[0].sourse: unknown key; did you mean 'source'?",
            id="unknown-key",
        ),
        pytest.param(
            "c.toml", '[[template]]\ndestination = "x"\n', "c.toml: template[0]: 'source' is missing", id="no-source"
        ),
        pytest.param(
            "c.toml",
            "[wait]\nmin = 5\n",
            "c.toml: wait.min: must be a duration in quotes like '250ms', got 5",
            id="no-unit",
        ),
        pytest.param(
            "c.toml",
            '[wait]\nmin = "5s"\nmax = "1s"\n',
            "configuration: wait.max: must be at least wait.min (5s), got '1s'",
            id="wait-backwards",
        ),
        pytest.param("c.toml", 'wait = "5s"\n', "c.toml: wait: must be a table, got text", id="value-for-table"),
        pytest.param(
            "c.toml",
            TEMPLATE + 'group = "web"\n',
            "template[0] (good.j2): unknown group 'web'; defined: none",
            id="unknown-group",
        ),
        pytest.param(
            "c.toml",
            TEMPLATE + 'group = "g"\ncommand = "true"\n[[group]]\nname = "g"\n',
            "template[0] (good.j2): has a command and a group; give the command to the group as 'reload'",
            id="command-and-group",
        ),
        pytest.param(
            "c.toml",
            TEMPLATE + 'perms = "888"\n',
            "c.toml: template[0].perms: must be octal in quotes like '0644', got '888'",
            id="perms",
        ),
        pytest.param(
            "c.toml",
            TEMPLATE + "perms = 644\n",
            "c.toml: template[0].perms: must be octal in quotes like '0644', got 644",
            id="perms-number",
        ),
        pytest.param(
            "c.toml", "[consul]\nmax_connections = 3\n",
            "c.toml: consul.max_connections: must be a whole number of at least 8, got 3",
            id="number-too-small",
        ),
    ],
)  # fmt: skip
def test_broken_configuration_is_one_line_and_nothing_is_written(folder, told, name, text, message):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert told("-config", name, "-catalog", "good.yaml", "-once") == (2, message + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("services: [\n", "c.yaml:2:1: is not YAML: did not find expected node content", id="yaml"),
        pytest.param("- a", "c.yaml: must be a table, got ['a']", id="no-table"),
        pytest.param("servces: {}", "c.yaml: servces: unknown key; did you mean 'services'?", id="unknown-key"),
        pytest.param(
            '{"services": {"web": {"instances": [{"address": "10.0.0.1", "port": 99999}]}}}',
            "c.yaml: services.web.instances[0].port: must be a whole number of at most 65535, got 99999",
            id="json-port",
        ),
    ],
)
def test_broken_catalog_is_one_line_and_nothing_is_written(folder, told, text, message):
    (folder / "c.yaml").write_text(text)
    assert told("-template", "good.j2:out", "-catalog", "c.yaml", "-once") == (2, message + "\n")


@pytest.mark.parametrize("mode", [["-once"], []], ids=["once", "daemon"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: None, "t.j2: cannot read the template: no such file or directory", id="missing"),  # noqa: ARG005
        pytest.param(lambda path: path.mkdir(), "t.j2: cannot read the template: is a directory", id="folder"),
        pytest.param(
            lambda path: path.symlink_to("nowhere"),
            "t.j2: cannot read the template: no such file or directory",
            id="dangling-link",
        ),
        pytest.param(
            lambda path: path.write_bytes(b"a\n\xff"),
            f"t.j2:2: {NO_TEXT}",
            id="no-text",
        ),
        pytest.param(
            lambda path: path.write_text("a\n{% for s in services() %}\n"),
            "t.j2:2: unexpected end of template. Jinja was looking for the following tags: 'endfor' or 'else'. "
            "The innermost block that needs to be closed is 'for'",
            id="syntax",
        ),
    ],
)
def test_unusable_template_is_one_line_and_nothing_is_written(folder, told, mode, make, message):
    make(folder / "t.j2")
    assert told("-template", "t.j2:out", "-catalog", "good.yaml", *mode) == (2, message + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a\n{{ unheard }}\n", "t.j2:2: 'unheard' is undefined", id="unknown-name"),
        pytest.param("{{ var.domain }}", "t.j2:1: 'var.domain' is undefined", id="unknown-variable"),
    ],
)
def test_template_that_cannot_be_rendered_fails_its_group(folder, told, text, message):
    (folder / "t.j2").write_text(text)
    assert told("-template", "t.j2:out", "-catalog", "good.yaml", "-once") == (1, f"ERROR {message}\n")


def test_an_address_without_a_listener_is_named_with_the_request(folder, ctemplate):
    address = f"127.0.0.1:{free_port()}"
    warning = f"WARNING http://{address}: connection refused, first for services(); {KEPT}"
    before = contents(folder)
    start = partial(ctemplate, "-template", "good.j2:out", "-consul-addr", address)
    process, timeout = once_that_says(warning, start)
    last = f"Consul at {address}: no usable answer after {timeout} to services()"
    assert STAMP.sub("", process.output()).splitlines() == [warning, last]
    assert contents(folder) == before


def test_address_that_is_no_consul_is_named_with_what_it_said(folder, ctemplate, page):
    before = contents(folder)
    warning = f"WARNING services(): http://{page}/v1/catalog/services: "
    process, timeout = once_that_says(warning, partial(ctemplate, "-template", "good.j2:out", "-consul-addr", page))
    first, last = STAMP.sub("", process.output()).splitlines()
    assert first.startswith(warning)
    assert last == f"Consul at {page}: no usable answer after {timeout} to services()"
    assert contents(folder) == before


def test_wrong_environment_variable_is_named(told):
    message = "CONSUL_HTTP_SSL: must be true or false, got 'maybe'\n"
    assert told("-template", "good.j2:out", "-once", env={"CONSUL_HTTP_SSL": "maybe"}) == (2, message)


@pytest.fixture
def page(programs):
    """The address of a web server that answers everything with a page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>\n")

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    programs.callback(server.server_close)
    programs.callback(server.shutdown)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


def test_files_of_windows_editors_are_read_as_others(tmp_path, ctemplate):
    mark, ends = b"\xef\xbb\xbf", (b"\n", b"\r\n")
    (tmp_path / "c.toml").write_bytes(mark + b'[[template]]\nsource = "t.j2"\ndestination = "out"\n'.replace(*ends))
    (tmp_path / "t.j2").write_bytes(mark + b"{% for s in services() %}\n{{ s.name }}\n{% endfor %}\n".replace(*ends))
    (tmp_path / "c.yaml").write_bytes(mark + b"services:\n  web: {instances: []}\n".replace(*ends))
    process = ctemplate("-once", "-config", "c.toml", "-catalog", "c.yaml", "-state-dir", "state")
    assert process.wait() == 0, process.log()
    assert (tmp_path / "out").read_bytes() == b"web\n"
