"""Our parser and nginx's own agree about thousands of difficult snippets."""

import http.client
import random
import re
import string
import subprocess
import time

import pytest
from harness import free_port
from harness.waiting import PATIENCE

from ctemplate.nginx.language.lexer import NginxSyntaxError
from ctemplate.nginx.language.parser import parse_config
from ctemplate.nginx.language.quoting import (
    MAX_QUOTED_BYTES,
    UnsafeTextError,
    comment,
    identifier,
    is_plain_token,
    quote,
)

pytestmark = pytest.mark.integration

PIECES = [
    *(bytes([byte]) for byte in b" \t\r\n;{}#\"'\\$)(ab~.%"),
    b"\x00", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xa0", b"\xff",
    b"${", b"$x", b"${x}", b"\\n", b"\\\\", b'\\"', b"\\'", b"\\;", b"\\ ", b"\\{", b"\\$", b"\r\n",
    b"# c\n", b"word", b"a b", b"; ",
]  # fmt: skip

GRAMMAR = ("unexpected ", "too long parameter")
OTHER = "refused for what it says, before its grammar could be"


@pytest.fixture
def prefix(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path


def nginx(prefix, config):
    """Run nginx -t on a configuration; return its grammar fault as (what, line), its other refusal, or None."""
    path = prefix / "nginx.conf"
    path.write_bytes(config)
    command = ["nginx", "-t", "-q", "-p", f"{prefix}/", "-c", str(path), "-e", "stderr", "-g", f"pid {prefix}/pid;"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
    output = done.stderr.decode(errors="backslashreplace")
    found = re.search(r"\[emerg\] \d+#\d+: (.*?) in \S*nginx\.conf:(\d+)$", output, re.MULTILINE | re.DOTALL)
    if found and found[1].startswith(GRAMMAR):
        return found[1], int(found[2])
    return None if done.returncode == 0 else OTHER


def ours(config):
    try:
        parse_config(config, where="nginx.conf")
    except NginxSyntaxError as fault:
        return fault.what, fault.line
    return None


def kind(verdict):
    """A verdict without the bytes that nginx prints as they are."""
    if verdict in (None, OTHER):
        return verdict
    what, line = verdict
    if what.startswith('too long parameter "'):
        return "too long parameter", line
    if re.fullmatch(r'unexpected "[^;{}]*"', what, re.DOTALL):
        return "unexpected byte", line
    return what, line


def chance_from(seed):
    return random.Random(seed)  # noqa: S311  # the same snippets each time


def snippets(seed, count, longest):
    chance = chance_from(seed)
    return [b"".join(chance.choices(PIECES, k=chance.randint(1, longest))) for _ in range(count)]


def in_types(snippet):
    return b"events {}\nhttp { types {\n" + snippet + b"\n} }\n"


def in_unfinished_types(snippet):
    return b"events {}\nhttp { types { a " + snippet


def at_the_top(snippet):
    return b"events {}\nenv " + snippet


@pytest.mark.parametrize(
    ("place", "comparable"),
    [
        pytest.param(in_types, 800, id="entries"),
        pytest.param(in_unfinished_types, 800, id="unfinished-entry"),
        pytest.param(at_the_top, 400, id="top"),
    ],
)
def test_both_give_the_same_verdict(prefix, place, comparable):
    pairs = []
    for snippet in snippets(place.__name__, 1000, 9):
        config = place(snippet)
        pairs.append((snippet, kind(nginx(prefix, config)), kind(ours(config))))
    compared = [pair for pair in pairs if pair[1] != OTHER]
    assert [pair for pair in compared if pair[1] != pair[2]] == []
    assert len(compared) > comparable


def edge(kind_of_token, length, following):
    body = b"x" * length
    token = {"bare": body, "double": b'"' + body + b'"', "single": b"'" + body + b"'", "comment": b"#" + body}[
        kind_of_token
    ]
    return b"events {}\nhttp { types {\n  a " + token + following


@pytest.mark.parametrize("kind_of_token", ["bare", "double", "single", "comment"])
@pytest.mark.parametrize(
    "following",
    [
        pytest.param(b";}}\n", id="semicolon"),
        pytest.param(b" ;}}\n", id="space"),
        pytest.param(b"\nb;}}\n", id="line-feed"),
        pytest.param(b"", id="end"),
        pytest.param(b" ", id="space-end"),
        pytest.param(b")b;}}\n", id="parenthesis"),
        pytest.param(b"b;}}\n", id="letter"),
    ],
)
def test_both_agree_at_the_length_limit(prefix, kind_of_token, following):
    configs = [edge(kind_of_token, length, following) for length in range(4090, 4100)]
    assert [kind(nginx(prefix, config)) for config in configs] == [kind(ours(config)) for config in configs]


GRAMMAR_MISTAKES = [
    b"events {",
    b"events {}}",
    b"events {}\n}",
    b"; events {}",
    b"{ }",
    b"events {}\n;;",
    b"events {} user",
    b"events {} user 'x",
    b"events {} user \\",
    b"events {} #",
    b"events {} # no end",
    b"events {} user # c",
    b'events {} user "x"y;',
    b"events {} http { map $a $b { x y { z; } } }",
    b"events {} http { geo $b { x { } } }",
    b"events {} http { } }\n\n}",
    b"events {} http { split_clients $a $b { * x {} } }",
    b"events {} http { types { a { b; } } }",
    b'events {} env "a"b;',
    b"events {} env }a;",
    b"events {} env a};",
    b"events {} env a#b;",
    b"events\n{\n}\n\nenv\na\n\n;;",
]


@pytest.mark.parametrize("config", GRAMMAR_MISTAKES)
def test_both_find_the_same_mistake_in_the_structure(prefix, config):
    assert kind(ours(config)) == kind(nginx(prefix, config)) != OTHER


def values(prefix, arguments):
    """Serve each raw argument from a location of a real nginx; return what clients receive."""
    port = free_port()
    locations = b"\n".join(b"location = /%d { return 200 %b; }" % pair for pair in enumerate(arguments))
    path = prefix / "nginx.conf"
    path.write_bytes(
        b'daemon off; worker_processes 1; error_log stderr; pid pid;\nevents {}\nhttp { geo $dollar { default "$"; }\n'
        b"access_log off; default_type text/plain; client_body_temp_path t1; proxy_temp_path t2;\n"
        b"fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\nserver { listen 127.0.0.1:%d;\n%b\n} }"
        % (port, locations)
    )
    process = subprocess.Popen(
        ["nginx", "-p", f"{prefix}/", "-c", str(path), "-e", "stderr"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        return [served(port, place, process) for place in range(len(arguments))], parse_config(
            path.read_bytes(), where="x"
        )
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def served(port, place, process, deadline=PATIENCE):
    until = time.monotonic() + deadline
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=deadline)
        try:
            connection.request("GET", f"/{place}")
            return connection.getresponse().read()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(process.stderr.read()) from None
            time.sleep(0.02)
        finally:
            connection.close()


def returned(directives):
    server = next(entry for entry in directives[-1].block if entry.name == b"server")
    return [entry.block[0].args[1] for entry in server.block if entry.name == b"location"]


def is_one_argument(raw):
    try:
        outer = parse_config(b"location x { return 200 " + raw + b"; }", where="x")
    except NginxSyntaxError:
        return False
    inner = outer[0].block
    return len(outer) == len(inner) == 1 and len(inner[0].args) == 2 and inner[0].block is None and b"\x00" not in raw


def test_both_decode_arguments_to_the_same_value(prefix):
    chance = chance_from("values")
    pieces = [piece for piece in PIECES if b"$" not in piece]
    raws = [b"".join(chance.choices(pieces, k=chance.randint(1, 7))) for _ in range(6000)]
    quoted = [b'"' + raw + b'"' for raw in raws] + [b"'" + raw + b"'" for raw in raws]
    arguments = sorted({raw for raw in (*raws, *quoted) if is_one_argument(raw)})
    assert len(arguments) > 3000
    theirs, directives = values(prefix, arguments)
    assert theirs == returned(directives)


def test_a_quoted_text_arrives_as_it_is(prefix):
    chance = chance_from("texts")
    alphabet = string.punctuation + string.ascii_letters + " \t\u00e4\u4e2d\u202e\u200b\U0001f600"
    texts = ["", "x" * MAX_QUOTED_BYTES, '"' * (MAX_QUOTED_BYTES // 2), "~^", "\\", "\\n", "'\"", *(
        "".join(chance.choices(alphabet, k=chance.randint(1, 30))) for _ in range(1000)
    )]  # fmt: skip
    theirs, _ = values(prefix, [quote(text, dollar="${dollar}").encode() for text in texts])
    assert theirs == [text.encode() for text in texts]


def test_nginx_has_no_escape_for_a_dollar(prefix):
    for attempt in (b"$", b'"$"', b"'$'", b"\\$", b'"\\$"', b"$$", b"${}", b"a$"):
        location = b"events {} http { server { listen 127.0.0.1:1; return 200 %b; } }" % attempt
        assert nginx(prefix, location) == OTHER, attempt
        in_a_map = b'events {} http { map "" $dollar { default %b; } }' % attempt
        assert nginx(prefix, in_a_map) == OTHER, attempt
    with pytest.raises(UnsafeTextError):
        quote("$")


def test_filtered_text_passes_nginx_anywhere(prefix):
    chance = chance_from("filters")
    hostile = [bytes(raw).decode("latin-1") for raw in snippets("filters", 300, 12)]
    lines = []
    for text in hostile:
        name = identifier(text)
        lines += [f"# {comment(text)}", f"a {comment(text)};", f"b {name} c;", f"d \"{name}\" '{comment(text)}';"]
        if is_plain_token(text):
            lines.append(f"e x{text};")
    chance.shuffle(lines)
    config = in_types("\n".join(lines).encode())
    assert nginx(prefix, config) is None
    assert len(parse_config(config, where="x")[1].block[0].block) == sum(not line.startswith("#") for line in lines)
