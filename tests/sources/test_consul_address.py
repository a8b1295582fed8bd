import pytest

from ctemplate.core.errors import ConfigError
from ctemplate.sources.consul.http.address import Address, parse_address

BRACKETS = "an IPv6 address stands in brackets, such as [::1]:8500"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("10.0.0.1:8501", Address(scheme="http", host="10.0.0.1", port=8501), id="host and port"),
        pytest.param("consul.local", Address(scheme="http", host="consul.local", port=8500), id="host alone"),
        pytest.param("[::1]:8500", Address(scheme="http", host="::1", port=8500), id="IPv6"),
        pytest.param("http://a", Address(scheme="http", host="a", port=80), id="http"),
        pytest.param("https://a", Address(scheme="https", host="a", port=443), id="https"),
        pytest.param("https://a:1/b/c/", Address(scheme="https", host="a", port=1, prefix="/b/c"), id="path"),
        pytest.param("unix:///run/c.sock", Address(scheme="http", socket="/run/c.sock"), id="unix socket"),
    ],
)
def test_an_address_is_parsed(text, expected):
    assert parse_address(text) == expected


def test_ssl_is_for_addresses_without_a_scheme():
    assert parse_address("a:1", ssl=True).is_tls
    assert not parse_address("http://a:1", ssl=True).is_tls


@pytest.mark.parametrize("text", ["http://10.0.0.1:8501/x", "https://[::1]:443", "unix:///run/c.sock"])
def test_an_address_shows_as_it_was_written(text):
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("ftp://a", "consul address 'ftp://a': the scheme must be http, https or unix", id="scheme"),
        pytest.param("a:85OO", "consul address 'a:85OO': the port must be 1 to 65535", id="letters in the port"),
        pytest.param(
            "http://a:8500/v1/",
            "consul address 'http://a:8500/v1/': leave out /v1, which is added to every request",
            id="the path of the API",
        ),
        pytest.param("a:99999", "consul address 'a:99999': the port must be 1 to 65535", id="port"),
        pytest.param("::1:8500", f"consul address '::1:8500': {BRACKETS}", id="IPv6"),
        pytest.param(
            "http://fe80::1",
            f"consul address 'http://fe80::1': {BRACKETS}",
            id="IPv6 in a URL",
        ),
        pytest.param("a:0", "consul address 'a:0': the port must be 1 to 65535", id="port 0"),
        pytest.param("", "consul address '': expected host:port, http://host:port/path or unix:///path", id="empty"),
        pytest.param(
            "a b:1", "consul address 'a b:1': expected host:port, http://host:port/path or unix:///path", id="space"
        ),
        pytest.param("unix://c", "consul address 'unix://c': expected unix:// and an absolute path", id="relative"),
        pytest.param(
            "http://u:hunter2@a",
            "consul address: user and password do not belong into an address, use the auth setting",
            id="password is not repeated",
        ),
    ],
)
def test_an_unusable_address_is_named(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert str(caught.value) == message
