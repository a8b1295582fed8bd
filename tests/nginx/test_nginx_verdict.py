from pathlib import Path

import pytest

from ctemplate.nginx.verdict import NginxMessage, NginxVerdict, messages, nginx_verdict, safe

WEB = Path("/etc/nginx/conf.d/web.conf")
OTHER = Path("/etc/nginx/nginx.conf")
CLOSING = (
    "nginx: the configuration file /etc/nginx/nginx.conf syntax is ok",
    "nginx: configuration file /etc/nginx/nginx.conf test is successful",
)


@pytest.mark.parametrize(
    ("status", "lines", "expected"),
    [
        pytest.param(0, CLOSING, NginxVerdict(status=0, refusals=(), warnings=()), id="good"),
        pytest.param(
            0,
            (f"nginx: [warn] a in {WEB}:1", *CLOSING),
            NginxVerdict(status=0, refusals=(), warnings=(f"nginx: [warn] a in {WEB}:1",)),
            id="warning",
        ),
        pytest.param(
            1,
            (f"nginx: [emerg] a in {WEB}:1", "nginx: configuration file /etc/nginx/nginx.conf test failed"),
            NginxVerdict(status=1, refusals=(f"nginx: [emerg] a in {WEB}:1",), warnings=()),
            id="refused",
        ),
        pytest.param(
            0,
            ("nginx: [alert] could not open error log file", *CLOSING),
            NginxVerdict(status=0, refusals=("nginx: [alert] could not open error log file",), warnings=()),
            id="alert with exit status 0",
        ),
        pytest.param(
            1,
            ("2026/01/02 03:04:05 [crit] 7#7: no memory",),
            NginxVerdict(status=1, refusals=("nginx: [crit] no memory",), warnings=()),
            id="log line",
        ),
        pytest.param(
            127,
            ("nginx: error while loading shared libraries: libx.so",),
            NginxVerdict(
                status=127,
                refusals=("nginx: [emerg] nginx: error while loading shared libraries: libx.so",),
                warnings=(),
            ),
            id="loader",
        ),
        pytest.param(0, ("nginx: [notice] a",), NginxVerdict(status=0, refusals=(), warnings=()), id="notice"),
    ],
)
def test_a_test_is_judged_by_status_and_words(status, lines, expected):
    assert nginx_verdict(status, lines, ours={WEB}) == expected


def test_the_user_directive_is_no_warning_without_root():
    what = 'the "user" directive makes sense only if the master process runs with super-user privileges, ignored'
    lines = (f"nginx: [warn] {what} in {OTHER}:1",)
    assert nginx_verdict(0, lines, ours={OTHER}, has_rights=False).warnings == ()
    assert nginx_verdict(0, lines, ours={OTHER}, has_rights=True) == NginxVerdict(status=0, refusals=(), warnings=lines)


def test_paths_are_translated_before_the_place_is_read():
    line = f'nginx: [emerg] unknown directive "x" in /tmp/copy{WEB}:3'
    found = nginx_verdict(1, [line], ours={WEB}, translate=lambda text: text.replace("/tmp/copy/", "/"))
    assert found.refusals == (f'nginx: [emerg] unknown directive "x" in {WEB}:3',)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('unknown directive "TOKEN=x"', 'unknown directive "…"', id="unknown directive"),
        pytest.param('unknown directive "a="b""', 'unknown directive "…"', id="quotes within"),
        pytest.param('unknown directive "a" directive"', 'unknown directive "…"', id="imitation"),
        pytest.param('unknown directive "a\nb"', 'unknown directive "…"', id="line feed"),
        pytest.param('invalid value "x" in "gzip" directive, use "on"', 'invalid value "…"', id="value"),
        pytest.param('host not found in upstream "key x"', 'host not found in upstream "…"', id="no host's name"),
        pytest.param('host not found in upstream "web"', 'host not found in upstream "web"', id="host"),
        pytest.param('"server" directive is not allowed here', '"server" directive is not allowed here', id="known"),
        pytest.param('open() "/a/b" failed (2: No such file)', 'open() "/a/b" failed (2: No such file)', id="path"),
        pytest.param(
            'cannot load certificate "/a": x() failed', 'cannot load certificate "/a": x() failed', id="certificate"
        ),
        pytest.param("no quotes", "no quotes", id="no quotes"),
    ],
)
def test_content_of_other_files_is_hidden(text, expected):
    foreign = NginxMessage(level="emerg", text=text, file=OTHER, line=1)
    assert safe(foreign, {WEB}) == NginxMessage(level="emerg", text=expected, file=OTHER, line=1)
    own = NginxMessage(level="emerg", text=text, file=WEB, line=1)
    assert safe(own, {WEB}) == own


def test_a_message_that_lost_its_place_hides_its_content():
    cut = NginxMessage(level="emerg", text='unknown directive "' + "x" * 2000)
    assert safe(cut, {WEB}).text == 'unknown directive "…"'
    inner = NginxMessage(level="emerg", text='unknown directive "a="x"' + "x" * 2000)
    assert safe(inner, {WEB}).text == 'unknown directive "…"'


def test_content_with_line_feeds_stays_one_message():
    lines = ['nginx: [emerg] unknown directive "a', f'b" in {OTHER}:2', f"nginx: [warn] c in {WEB}:1"]
    assert list(messages(lines)) == [
        NginxMessage(level="emerg", text='unknown directive "a\nb"', file=OTHER, line=2),
        NginxMessage(level="warn", text="c", file=WEB, line=1),
    ]


KEY = (
    'nginx: [emerg] cannot load certificate key "/k.pem": BIO_new_file() failed (SSL: error:8000000D:system library::'
    "Permission denied:calling fopen(/k.pem, r) error:10080002:BIO routines::system lib)"
)


def test_a_port_that_a_test_without_roots_rights_may_not_bind_is_no_refusal():
    bind = "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)"
    failed = "nginx: configuration file /n.conf test failed"
    assert not nginx_verdict(1, [bind, failed], ours=(), has_rights=False).is_refused
    assert nginx_verdict(1, [bind, failed], ours=(), has_rights=True).is_refused
    both = nginx_verdict(1, [bind, 'nginx: [emerg] unknown directive "x" in /n.conf:1'], ours=(), has_rights=False)
    assert (both.status, both.is_refused) == (1, True)
    assert nginx_verdict(1, [failed], ours=(), has_rights=False).is_refused


@pytest.mark.parametrize(
    ("lines", "has_rights", "expected"),
    [
        pytest.param([KEY], False, True, id="a key"),
        pytest.param([KEY], True, False, id="root"),
        pytest.param([KEY, 'nginx: [emerg] unknown directive "x" in /n.conf:1'], False, False, id="and a fault"),
        pytest.param([], False, False, id="no word"),
    ],
)
def test_a_file_that_only_nginx_may_read_is_a_lack_of_rights(lines, has_rights, expected):
    assert nginx_verdict(1, lines, ours=(), has_rights=has_rights).lacks_rights is expected
