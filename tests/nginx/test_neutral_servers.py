import pytest

from ctemplate.nginx.language.neutral_servers import with_neutral_servers

NEUTRAL = " server {{ listen {}; server_name neutral.invalid; }}"


@pytest.mark.parametrize(
    ("text", "inside", "addresses"),
    [
        ("http {\n server {\n  listen 81 ssl;\n  location / { } # }\n }@0\n server { listen 81; }\n}\n", "", ["81"]),
        ("server { }@0 server { listen 80; listen [::]:80 ipv6only=on; }@1\n", "http", ["80", "[::]:80"]),
        ("stream { server { listen 1; } }\nupstream a { server b; }\n", "", []),
        ("server { listen $x; }\n", "http", []),
        ("server {", "http", []),
    ],
)
def test_the_first_server_on_each_address_gets_a_neighbour_on_its_last_line(text, inside, addresses):
    plain = expected = text
    for number, address in enumerate(addresses):
        plain = plain.replace(f"@{number}", "")
        expected = expected.replace(f"@{number}", NEUTRAL.format(address))
    assert with_neutral_servers(plain, inside=inside.encode()) == expected


def test_the_neighbour_takes_handshakes_as_the_first_server_does():
    first = " server { listen 443 ssl; ssl_certificate /c.pem; ssl_certificate_key /k.pem; ssl_protocols TLSv1.3; }"
    again = NEUTRAL.format(443).replace(" }", " ssl_certificate /c.pem; ssl_certificate_key /k.pem; }")
    assert with_neutral_servers(f"http {{{first} }}") == f"http {{{first}{again} }}"
    first = first.replace(" /c.pem", " # where\n /c.pem")
    assert with_neutral_servers(f"http {{{first} }}") == f"http {{{first} }}", "all lines keep their numbers"
