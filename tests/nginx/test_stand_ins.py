"""Replacements of unreadable files: a key with its certificate, and no readable file."""

import pytest

from ctemplate.nginx import stand_ins as module
from ctemplate.nginx.language.includes import load_tree
from ctemplate.nginx.stand_ins import stand_ins


@pytest.fixture
def replaced(tmp_path, monkeypatch):
    """Return each line of the files with stand-ins; names that begin with `closed` may not be read."""
    monkeypatch.setattr(module, "may_read", lambda path: not path.name.startswith("closed"))
    private = tmp_path / "private"
    private.mkdir()

    def found(text, **others):
        main = tmp_path / "nginx.conf"
        main.write_text(text)
        for name, content in others.items():
            (tmp_path / name).write_text(content)
        made = stand_ins(load_tree(main), private)
        texts = {
            path.name: content.decode().replace(f"{private}/stand-in-", "") for path, content in made.replaced.items()
        }
        return texts, [path.name for path in made.unreadable], sorted(path.name for path in private.iterdir())

    return found


def pair(certificate, key, family="ssl"):
    return f"{family}_certificate {certificate}; {family}_certificate_key {key};"


def server(*parts):
    return f"server {{ {' '.join(parts)} }}"


REPLACED = pair('"certificate"', '"key"')
PROXY = "proxy_ssl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (server(pair("a.crt", "a.key")), None),
        (server(pair("a.crt", "closed.key")), server(REPLACED)),
        (
            server(pair("a.crt", "closed.key")) + server(pair("b.crt", "b.key")),
            server(REPLACED) + server(pair("b.crt", "b.key")),
        ),
        (server(pair("a.crt", "closed.key")) + server(pair("a.crt", "a.key")), server(REPLACED) + server(REPLACED)),
        (pair("a.rsa", "a.rk") + pair("a.ec", "closed.ek"), pair("a.rsa", "a.rk") + REPLACED),
        (
            pair("a.crt", "closed.key", PROXY) + pair("b.crt", "b.key"),
            pair('"certificate"', '"key"', PROXY) + pair("b.crt", "b.key"),
        ),
        ("ssl_password_file closed.pass;", 'ssl_password_file "password";'),
        ("ssl_session_ticket_key closed.ticket;", 'ssl_session_ticket_key "ticket";'),
        ("ssl_client_certificate closed.ca;", 'ssl_client_certificate "trusted";'),
        ("ssl_certificate_key $closed.key; ssl_certificate_key engine:closed; ssl_certificate_key data:closed;", None),
    ],
)
def test_a_key_that_may_not_be_read_is_replaced_with_what_belongs_to_it(replaced, text, expected):
    texts, _, _ = replaced(text)
    assert texts == ({} if expected is None else {"nginx.conf": expected})


def test_a_key_and_its_certificate_may_stand_in_two_files(replaced):
    texts, unreadable, made = replaced(
        "http { include key.conf; server { ssl_certificate a.crt; } }",
        **{"key.conf": "ssl_certificate_key\nclosed.key;\n"},
    )
    assert texts == {
        "nginx.conf": 'http { include key.conf; server { ssl_certificate "certificate"; } }',
        "key.conf": 'ssl_certificate_key\n"key";\n',
    }
    assert (unreadable, made) == (["closed.key"], ["stand-in-certificate", "stand-in-key"])
