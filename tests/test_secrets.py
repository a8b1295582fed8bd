"""Tokens appear in no error, `repr`, log line or child process; untrusted bytes forge no log line."""

import io
import json
import logging
import re

import pytest

from ctemplate.cli.logs import JsonFormatter, TextFormatter
from ctemplate.config.layers import Layer, environment_layer
from ctemplate.core.errors import CtemplateError, printable
from ctemplate.core.model import Rejection
from ctemplate.runtime.assembly import Assembler
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.system.programs import child_environment

SECRET = "0f1e2d3c-token"
SECRETS = {
    "CONSUL_HTTP_TOKEN": SECRET,
    "CONSUL_HTTP_AUTH": f"user:{SECRET}",
    "CONSUL_TOKEN": SECRET,
}


@pytest.fixture
def assembler():
    flags = Layer(where="the command line", values={"consul": {"token": SECRET, "auth": f"user:{SECRET}"}})
    return Assembler(paths=(), flags=flags, environ=SECRETS)


def test_nothing_that_holds_a_token_shows_it(assembler):
    config = assembler.config()
    holders = (assembler, assembler.flags, environment_layer(SECRETS), config, config.consul)
    assert [holder for holder in (*holders, ConsulSettings(token=SECRET, auth=SECRET)) if SECRET in repr(holder)] == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"[consul]\ntoken = ['{SECRET}']", id="a list for a token"),
        pytest.param(f"[consul]\nauth = {{ user = '{SECRET}' }}", id="a table for auth"),
        pytest.param(f"[consul]\ntokn = '{SECRET}'", id="a misspelt key"),
        pytest.param(f"[consul]\ntoken = '{SECRET}\n", id="a quote left open"),
        pytest.param(
            f"[consul]\naddress = 'http://user:{SECRET}@127.0.0.1'\n[[template]]\nsource = 't'\ndestination = 'o'",
            id="an address",
        ),
        pytest.param(f"[consul]\naddress = 'http://user:{SECRET}@host:port'", id="an address without a port"),
        pytest.param(f"[[consul]]\ntoken = '{SECRET}'", id="a list of tables"),
        pytest.param(f"consul = '{SECRET}'", id="a text for a table"),
        pytest.param(f"vars = ['password={SECRET}']", id="a list for variables"),
        pytest.param(f"[[group]]\nname = 'g'\nenv = ['PASSWORD={SECRET}']", id="a list for an environment"),
        pytest.param(f'consul {{ token = ["{SECRET}"] }}', id="hcl, a list for a token"),
        pytest.param(f"consul {{ token = s{SECRET.replace('-', '')} }}", id="hcl, a token without quotes"),
        pytest.param(f'consul {{ auth {{ password = ["{SECRET}"] }} }}', id="hcl, a list for a password"),
        pytest.param(f'consul {{ auth = "user:{SECRET}" }}', id="hcl, a text for auth"),
        pytest.param(f'consul {{ auth {{ enabled = "{SECRET}" }} }}', id="hcl, in place of a switch"),
        pytest.param(f'consul = ["{SECRET}"]', id="hcl, a list for a block"),
        pytest.param(f'consul {{ tokn = "{SECRET}" }}', id="hcl, a misspelt key"),
    ],
)
def test_errors_about_a_secret_do_not_show_it(tmp_path, text):
    (tmp_path / "t").write_text("x")
    file = tmp_path / ("c.hcl" if text.startswith(("consul {", "consul = [")) else "c.toml")
    file.write_text(text.replace("'t'", f"'{tmp_path}/t'").replace("'o'", f"'{tmp_path}/o'"))
    with pytest.raises(CtemplateError) as caught:
        Assembler(paths=(file,), flags=Layer(where="", values={}), environ={}).assemble()
    for secret in (SECRET, SECRET.replace("-", "")):
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value)


def test_children_do_not_inherit_credentials():
    assert child_environment(SECRETS | {"PATH": "/bin"}) == {"PATH": "/bin"}


FORGERIES = (
    "a\n2026-01-01T00:00:00.000Z ERROR forged",
    "a\r\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u202e\u2066\u200b",
    "\u2028\u2029\x85\x0b\x0c",
    "a\0b\ud800",
    "a\n    b\nc",
)
LINE = re.compile(r"(?:\d{4}-\d\d-\d\dT[\d:.]+Z WARNING |    ).*")


@pytest.mark.parametrize("text", FORGERIES)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_untrusted_text_forges_no_log_line(text, formatter):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    record = logging.LogRecord("ctemplate.x", logging.WARNING, "x", 1, "service %s", (text,), None)
    handler.handle(record)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert all(char.isprintable() or char == "\n" for char in line)
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["level"] == "warning"
        assert line.count("\n") == 1
    else:
        assert all(LINE.fullmatch(part) for part in line[:-1].split("\n"))


@pytest.mark.parametrize("text", FORGERIES)
def test_a_fault_is_one_printable_line(text):
    rejection = Rejection(service=text, instance=text, field="name", reason=printable(text))
    assert printable(rejection).isprintable()
    assert str(rejection).isprintable()
