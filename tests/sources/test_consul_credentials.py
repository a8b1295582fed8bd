import logging
import os

import pytest

from ctemplate.core.errors import ConfigError
from ctemplate.sources.consul.endpoints.settings import ConsulSettings
from ctemplate.sources.consul.http.credentials import Credentials


def rewrite(path, text):
    """Replace a file as rotation does: a new file under the old name."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def credentials(**settings):
    return Credentials(ConsulSettings(**settings), needs_tls=False)


def test_the_token_and_the_user_go_into_headers():
    headers = credentials(token="s3cret", auth="user:pässword").headers()
    assert headers == {
        "Accept": "application/json",
        "User-Agent": "ctemplate",
        "X-Consul-Token": "s3cret",
        "Authorization": "Basic dXNlcjpww6Rzc3dvcmQ=",
    }


def test_a_user_without_a_password_has_an_empty_one():
    assert credentials(auth="user").headers()["Authorization"] == "Basic dXNlcjo="


def test_secrets_do_not_show():
    assert "s3cret" not in repr(ConsulSettings(token="s3cret", auth="user:s3cret"))


def test_a_token_file_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / "token"
    file.write_text("one\n")
    found = credentials(token_file=str(file), token="other")
    first = found.headers()
    assert first["X-Consul-Token"] == "one"
    assert found.headers() is first
    rewrite(file, "two\n")
    assert found.headers()["X-Consul-Token"] == "two"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda file: file.unlink(), id="gone"),
        pytest.param(lambda file: rewrite(file, ""), id="empty"),
        pytest.param(lambda file: rewrite(file, "a\nb"), id="two lines"),
    ],
)
def test_a_token_file_that_turns_bad_keeps_the_token_and_says_so_once(tmp_path, caplog, spoil):
    file = tmp_path / "token"
    file.write_text("one")
    found = credentials(token_file=str(file))
    spoil(file)
    assert [found.headers()["X-Consul-Token"] for _ in range(3)] == ["one"] * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the token read before stays in use" in caplog.text
    rewrite(file, "two")
    assert found.headers()["X-Consul-Token"] == "two"


@pytest.mark.parametrize("token", ["a b", "a\nX-Evil: 1", "é", "a\x00"])
def test_a_token_cannot_write_a_header(token):
    with pytest.raises(ConfigError) as caught:
        credentials(token=token)
    assert str(caught.value) == "consul token: holds characters that no token has"


def test_a_missing_token_file_is_named():
    with pytest.raises(ConfigError) as caught:
        credentials(token_file="/nowhere/token")
    assert str(caught.value) == "consul token file /nowhere/token: no such file or directory"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"ca_cert": "{0}"}, "consul CA {0}: cannot be used: no certificate or crl found", id="CA"),
        pytest.param({"ca_cert": "{0}.none"}, "consul CA {0}.none: no such file or directory", id="no CA"),
        pytest.param(
            {"cert": "{0}.none", "key": "{0}"},
            "consul certificate {0}.none and key {0}: no such file or directory",
            id="no certificate",
        ),
    ],
)
def test_tls_files_that_cannot_be_used_are_named(tmp_path, settings, message):
    file = tmp_path / "file.pem"
    file.write_text("nonsense")
    given = {name: value.format(file) for name, value in settings.items()}
    with pytest.raises(ConfigError) as caught:
        Credentials(ConsulSettings(**given), needs_tls=True)
    assert str(caught.value) == message.format(file)


def test_without_tls_there_is_no_context(tmp_path):
    assert credentials(ca_cert=os.fspath(tmp_path / "none")).context() is None
