"""Advice about nginx's messages that only experts understand."""

import pytest

from ctemplate.nginx.advice import advice


@pytest.mark.parametrize(
    ("line", "start"),
    [
        (
            'nginx: [emerg] unknown directive "stream" in /n.conf:2',
            "install nginx's stream module",
        ),
        ('nginx: [emerg] invalid port in upstream "127.0.0.1:0" in /n.conf:2', "an instance is registered without"),
        ("nginx: [emerg] no servers are inside upstream in /n.conf:2", "an upstream without instances is refused"),
        (
            'nginx: [emerg] host not found in upstream "web" in /n.conf:2',
            "no upstream and no host has this name; if it is",
        ),
    ],
)
def test_words_that_a_newcomer_cannot_act_on_get_a_line(line, start):
    (found,) = advice([line, line])
    assert found.startswith(start)


def test_other_words_stand_alone():
    assert list(advice(['nginx: [emerg] unknown directive "garbage" in /n.conf:2'])) == []
