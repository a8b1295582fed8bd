import pytest
from hypothesis import given, strategies as st

from ctemplate.config.spec import parse_template, parse_variable
from ctemplate.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "section"),
    [
        pytest.param("a.j2", {"source": "a.j2"}, id="source"),
        pytest.param("a.j2:/etc/a", {"source": "a.j2", "destination": "/etc/a"}, id="destination"),
        pytest.param("a.j2:", {"source": "a.j2"}, id="empty-destination-is-none"),
        pytest.param(
            "a:b:nginx -s reload", {"source": "a", "destination": "b", "command": "nginx -s reload"}, id="command"
        ),
        pytest.param(
            "a:b:curl http://x:80/y?a::b:",
            {"source": "a", "destination": "b", "command": "curl http://x:80/y?a::b:"},
            id="colons-in-the-command-survive",
        ),
    ],
)
def test_template_spec_is_source_destination_command(text, section):
    assert parse_template(text) == section


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "-template: the source is empty, got ''; write SRC[:DST[:CMD]]", id="empty"),
        pytest.param(":b", "-template: the source is empty, got ':b'; write SRC[:DST[:CMD]]", id="no-source"),
        pytest.param(
            "a::cmd", "-template: the destination is empty, got 'a::cmd'; write SRC:DST:CMD", id="no-destination"
        ),
    ],
)
def test_malformed_template_spec_is_explained(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_template(text)
    assert str(caught.value) == message


@given(st.text(alphabet="ab:/. ", max_size=12))
def test_any_template_spec_parses_back_or_is_refused(text):
    try:
        section = parse_template(text)
    except ConfigError:
        return
    assert text.startswith(":".join(section.values()).rstrip())


def test_variable_is_name_and_value():
    assert parse_variable("domain=a=b") == ("domain", "a=b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hunter2", "must be NAME=VALUE, got 7 characters without '='"),
        ("x", "must be NAME=VALUE, got 1 character without '='"),
        ("=hunter2", "must be NAME=VALUE with a plain name, got the name ''"),
        ("1a=hunter2", "must be NAME=VALUE with a plain name, got the name '1a'"),
        ("a-b=hunter2", "must be NAME=VALUE with a plain name, got the name 'a-b'"),
    ],
)
def test_malformed_variable_is_explained_and_its_value_is_not_shown(text, said):
    with pytest.raises(ConfigError) as caught:
        parse_variable(text)
    assert str(caught.value) == f"-var: {said}"
