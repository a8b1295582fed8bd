"""Filters are added where nginx's printing rule requires them, and each one is reported."""

import pytest

from ctemplate.lint import hardened


def loop(body):
    return "{% for svc in services() %}{% for i in service(svc.name) %}\n" + body + "\n{% endfor %}{% endfor %}\n"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param(
            "upstream {{ svc.name }} { }",
            "upstream {{ svc.name | identifier }} { }",
            "added | identifier: a registered name is printed here",
            id="upstream",
        ),
        pytest.param(
            "location / { proxy_pass http://{{ svc.name }}; }",
            "location / { proxy_pass http://{{ svc.name | identifier }}; }",
            "added | identifier: a registered name is printed here",
            id="what names it",
        ),
        pytest.param(
            '# {{ i.meta.zone | default("}}") }} x',
            '# {{ i.meta.zone | default("}}") | comment }} x',
            "added | comment: a meta value is printed here",
            id="comment, with braces in a string",
        ),
        pytest.param(
            'set $x {{ i.meta.a or i.meta["b"] }};',
            'set $x {{ (i.meta.a or i.meta["b"]) | token }};',
            "added | token: a meta value is printed here",
            id="expression",
        ),
        pytest.param(
            'set $x "{{ i.meta.a }}";',
            'set $x "{{ i.meta.a }}";',
            "a meta value is within quotes; remove the quotes and print it through | quote",
            id="quotes are for a person to drop",
        ),
    ],
)
def test_a_registered_text_gets_the_filter_of_its_place(before, after, said):
    result = hardened("t", loop(before))
    assert (result.text, [finding.message for finding in result.findings]) == (loop(after), [said])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("server {{ i.ip }}:{{ i.port }};", id="plain by themselves"),
        pytest.param("set $x {{ i.meta.a | quote }};", id="escaped already"),
        pytest.param("location /{{ svc.name }} { }", id="a name is a token as a rule"),
    ],
)
def test_what_needs_no_filter_stays(body):
    assert hardened("t", loop(body)) == hardened("t", hardened("t", loop(body)).text)
    assert hardened("t", loop(body)).findings == ()


def test_a_template_that_cannot_be_read_stays_as_it_is():
    result = hardened("t", "{% for %}")
    assert (result.text, [finding.code for finding in result.findings]) == ("{% for %}", ["CT101"])
