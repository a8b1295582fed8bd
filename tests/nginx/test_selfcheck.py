import re
from itertools import chain

import pytest

from ctemplate.nginx.language.authority import KnownRoutes, Origin
from ctemplate.nginx.language.file_paths import PathVariables
from ctemplate.nginx.language.unique_names import Clash
from ctemplate.nginx.language.value_check import MisplacedValue, Piece, UnreadableText, ValueReport, examine

STRUCTURE = "would change the structure of the configuration"


def report(source, *values, inside=b"", **around):
    """Examine a source in which `@0`, `@1` … stand for the values."""
    first, *rest = source.split(b"@")
    pieces = [Piece(text=first)]
    for part in rest:
        number = int(part[:1])
        pieces += [Piece(text=values[number], data=number), Piece(text=part[1:])]
    return examine(pieces, inside=inside, **around)


def breaks(*numbers):
    return ValueReport(
        findings=tuple(MisplacedValue(data=number, reason=STRUCTURE, is_misplaced=False) for number in numbers)
    )


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        pytest.param(b"set $x @0;", (b"a",), ValueReport(), id="a word"),
        pytest.param(b"set $x @0;", (b'"a b; c"',), ValueReport(), id="a quoted word"),
        pytest.param(b"set $x @0;", (b"a; root /",), breaks(0), id="a second directive"),
        pytest.param(b"set $x @0;", (b"a b",), breaks(0), id="a second argument"),
        pytest.param(b"set $x a@0;", (b'"; root /; "',), breaks(0), id="a quoted word glued"),
        pytest.param(b"# @0\nset $x b;", (b"a\nroot /;",), breaks(0), id="a comment"),
        pytest.param(b"# @0\nset $x b;", (b"a; root /;",), ValueReport(), id="a harmless comment"),
        pytest.param(b"# @0", (b"a\nroot /;",), breaks(0), id="a comment alone"),
        pytest.param(b"set $x @0; set $y @1; set $z @2;", (b"a", b"{", b"c"), breaks(1), id="the one among others"),
        pytest.param(b"a @0; b @1; c @2;", (b"x;y", b"z", b"u{}"), breaks(0, 2), id="two of three"),
        pytest.param(b"a @0; b @1;", (b'"x', b'y"'), breaks(0), id="the one that opens"),
        pytest.param(b"map $a $b { @0 1; }", (b"root",), ValueReport(), id="a key"),
        pytest.param(b"map $a $b { @0 1; }", (b"include",), breaks(0), id="an instruction for a key"),
        pytest.param(b"server_name @0;", (b"~.",), breaks(0), id="a regular expression"),
        pytest.param(b"a {", (), ValueReport(), id="no values"),
        pytest.param(b"a { @0;", (b"x",), ValueReport(), id="not nginx's language at all"),
    ],
)
def test_values_that_change_the_structure_are_found(source, values, expected):
    assert report(source, *values) == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        pytest.param(b"@0 x;", "would be the name of a directive", id="name"),
        pytest.param(b"proxy_@0 x;", "would be the name of a directive", id="part of a name"),
        pytest.param(b"load_module a/@0.so;", "would choose what 'load_module' loads", id="module"),
        pytest.param(b"http { include a b@0; }", "would choose what 'include' loads", id="include"),
        pytest.param(b"content_by_lua_block { x(@0) }", "would choose what 'content_by_lua_block' loads", id="lua"),
        pytest.param(b"exec_push a @0;", "would choose what 'exec_push' loads", id="a program"),
        pytest.param(
            b"modsecurity_rules_remote a @0;", "would choose what 'modsecurity_rules_remote' loads", id="rules"
        ),
        pytest.param(b"quic_host_key @0;", "would choose the file that 'quic_host_key' opens", id="QUIC's key"),
        pytest.param(b"xml_entities @0;", "would choose the file that 'xml_entities' opens", id="entities"),
        pytest.param(b"error_log @0;", "would choose the file that 'error_log' opens", id="log"),
        pytest.param(b"ssl_certificate_key @0;", "would choose the file that 'ssl_certificate_key' opens", id="key"),
    ],
)
def test_values_in_places_where_none_belongs_are_found(source, reason):
    assert report(source, b"x") == ValueReport(findings=(MisplacedValue(data=0, reason=reason),))


@pytest.mark.parametrize(
    "source", [b"ssl_certificate /etc/ssl/@0.pem;", b"access_log /var/log/@0.log;", b"upstream @0 { server a:1; }"]
)
def test_values_within_a_path_or_a_name_are_fine(source):
    assert report(source, b"x") == ValueReport()


def test_keys_of_a_file_within_a_map_are_data():
    assert report(b"@0 1;", b"root", inside=b"map") == ValueReport()
    assert report(b"@0 1;", b"default", inside=b"map") == breaks(0)


def test_a_text_that_is_nginx_with_the_real_values_alone_is_unreadable():
    with pytest.raises(UnreadableText) as caught:
        report(b'a "x"@0;', b"; root /")
    assert str(caught.value) == 'line 1: unexpected "\\x01"'


def test_a_word_of_many_values_that_is_too_long_is_theirs_alone():
    letters = [Piece(text=b"a", data=number) for number in range(10, 5010)]
    others = [[Piece(text=b"set $x "), Piece(text=b"b", data=number), Piece(text=b";")] for number in range(10)]
    pieces = [*chain(*others[:5]), Piece(text=b"set $y "), *letters, Piece(text=b";"), *chain(*others[5:])]
    found = {finding.data for finding in examine(pieces).findings}
    assert len(found) > 4000
    assert found.isdisjoint(range(10))


def test_many_values_of_one_print_are_one():
    pieces = [Piece(text=b"set $x "), *[Piece(text=b"a", data=0), Piece(text=b"")] * 5000, Piece(text=b";")]
    assert examine(pieces) == breaks(0)


def judged(*addresses):
    """Addresses that whoever registered a value may name."""
    return {Origin(address.encode(), number) for address in addresses for number in range(9)}


OWN = b"upstream web { server 10.0.0.1:80; } upstream 10.0.0.5 { server 10.0.0.1:80; } "
KNOWN = KnownRoutes(addresses=judged("10.0.0.1", "10.0.0.1:80", "[2001:db8::1]"), routed=frozenset({b"theirs"}))


@pytest.mark.parametrize(
    ("source", "values"),
    [
        pytest.param(b"proxy_pass http://@0;", (b"web",), id="an upstream"),
        pytest.param(b"proxy_pass http://@0;", (b"WEB",), id="in another case"),
        pytest.param(b"proxy_pass http://@0/x;", (b"web/a",), id="with a path"),
        pytest.param(b"proxy_pass @0;", (b"https://web?a",), id="with a scheme"),
        pytest.param(b"proxy_pass @0://web;", (b"https",), id="a scheme"),
        pytest.param(b"proxy_pass http://@0$request_uri;", (b"web",), id="before a variable path"),
        pytest.param(b"proxy_pass http://web/@0;", (b"127.0.0.1:8500",), id="within the path"),
        pytest.param(b"proxy_pass http://@0:@1;", (b"10.0.0.1", b"8500"), id="an address and a port"),
        pytest.param(b"proxy_pass http://@0;", (b"[2001:db8::1]",), id="IPv6"),
        pytest.param(b"proxy_pass http://@0;", (b"10.0.0.1:80",), id="an instance's address and port"),
        pytest.param(b"fastcgi_pass @0;", (b"web",), id="fastcgi"),
        pytest.param(b"grpc_pass grpcs://@0;", (b"web",), id="grpc"),
        pytest.param(b"resolver @0 valid=@1;", (b"10.0.0.1", b"5s"), id="a resolver"),
        pytest.param(b"upstream x { server @0:@1; }", (b"10.0.0.1", b"1"), id="a server"),
        pytest.param(b"set $b @0; proxy_pass http://$b:80;", (b"10.0.0.1",), id="by a variable"),
        pytest.param(b"set $c web; proxy_pass http://$b; set $c @0;", (b"x",), id="a variable that goes nowhere"),
        pytest.param(b"map $a $b { @0 web; } proxy_pass http://$b;", (b"127.0.0.1",), id="the key of a map"),
        pytest.param(b"map $a $b { x @0; } proxy_pass http://$b;", (b"web",), id="the value of a map"),
        pytest.param(
            b"location / { set $v_@0 @0; proxy_pass http://$v_@0; }", (b"web",), id="a variable named after it"
        ),
        pytest.param(b"location / { set $v_@0 @0; proxy_pass http://${V_@0}/x$a; }", (b"web",), id="in braces, a path"),
        pytest.param(b"location / { set $v_@0 http://@0; proxy_pass $v_@0; }", (b"web",), id="with a scheme"),
        pytest.param(b"location / { set $v_@0 other; proxy_pass http://$v_@0; }", (b"x",), id="set to own text"),
        pytest.param(b"location / { set $v_@0 $a; proxy_pass http://$v_@0; }", (b"x",), id="set to an own variable"),
        pytest.param(
            b"location / { set $v_@0 @0; include p; rewrite (.*) /$1 break; proxy_pass http://$v_@0; }",
            (b"web",),
            id="further directives behind it",
        ),
        pytest.param(b"stream { server { set $v_@0 @1; proxy_pass $v_@0; } }", (b"x", b"10.0.0.1:80"), id="in stream"),
        pytest.param(
            b"set $v_@0 @0; add_header x $v_@0; proxy_pass http://$b;", (b"c",), id="a variable that is printed"
        ),
        pytest.param(b"access_log syslog:server=127.0.0.1,tag=@0;", (b"web",), id="a log's tag"),
        pytest.param(b"auth_request /auth/@0;", (b"web",), id="within a place"),
        pytest.param(b"proxy_pass http://@0:80;", (b"10.0.0.1",), id="an address before the template's port"),
        pytest.param(b"server { server_name @0; proxy_pass http://$server_name; }", (b"web",), id="a server's name"),
        pytest.param(b"server { server_name x @0; proxy_pass http://$server_name; }", (b"y",), id="its second name"),
        pytest.param(b"server { server_name .@0; proxy_pass http://$server_name; }", (b"web",), id="behind a dot"),
        pytest.param(b"server { server_name @0; proxy_pass http://web; }", (b"x",), id="a name that goes nowhere"),
        pytest.param(b"push rtmp://@0/live;", (b"10.0.0.1:80",), id="rtmp"),
    ],
)
def test_values_may_name_an_upstream_or_an_address_that_was_judged(source, values):
    assert report(OWN + source, *values, inside=b"http", known=KNOWN) == ValueReport()


@pytest.mark.parametrize(
    ("source", "values", "goes"),
    [
        pytest.param(b"proxy_pass http://@0;", (b"127.0.0.1:8500",), "proxy_pass", id="a port"),
        pytest.param(b"proxy_pass http://@0;", (b"10.0.0.1:8500",), "proxy_pass", id="another port"),
        pytest.param(b"proxy_pass http://@0;", (b"web:8500",), "proxy_pass", id="an upstream's port"),
        pytest.param(b"proxy_pass http://@0;", (b"127.0.0.1/web",), "proxy_pass", id="a path"),
        pytest.param(b"proxy_pass http://@0;", (b"10.0.0.1@x",), "proxy_pass", id="a user"),
        pytest.param(b"proxy_pass http://@0;", (b"Unix:/a:",), "proxy_pass", id="a socket"),
        pytest.param(b"proxy_pass http://unix:/run/@0;", (b"web",), "proxy_pass", id="within it"),
        pytest.param(b"proxy_pass http://@0.internal;", (b"web",), "proxy_pass", id="another host"),
        pytest.param(b"proxy_pass @0;", (b"http://x",), "proxy_pass", id="a scheme"),
        pytest.param(b"proxy_pass @0://web;", (b"http://x/",), "proxy_pass", id="in the place of a scheme"),
        pytest.param(b"proxy_pass http://web@0;", (b"x",), "proxy_pass", id="glued"),
        pytest.param(b"proxy_pass http://@0;", (b"[x]",), "proxy_pass", id="brackets"),
        pytest.param(b"proxy_pass @0;", (b'"http://x y"',), "proxy_pass", id="quoted"),
        pytest.param(b"uwsgi_pass @0;", (b"x",), "uwsgi_pass", id="uwsgi"),
        pytest.param(b"scgi_pass @0;", (b"x",), "scgi_pass", id="scgi"),
        pytest.param(b"memcached_pass @0;", (b"x",), "memcached_pass", id="memcached"),
        pytest.param(b"resolver 10.0.0.2 @0;", (b"x",), "resolver", id="resolver"),
        pytest.param(b"resolver @0;", (b"web",), "resolver", id="resolvers know no upstreams"),
        pytest.param(b"upstream x { server @0; }", (b"web",), "server", id="nor do servers"),
        pytest.param(b"set $b @0; proxy_pass http://$b;", (b"x",), "$b", id="a variable"),
        pytest.param(b"set $A @0; set $b http://${a}; proxy_pass $b;", (b"x",), "$a", id="by way of another"),
        pytest.param(b"set $p @0; proxy_pass http://127.0.0.1:$p;", (b"8500",), "$p", id="its port"),
        pytest.param(b"set $b @0; proxy_pass http://$b.x;", (b"web",), "$b", id="a part of a host"),
        pytest.param(b"map $a $b { default @0; } proxy_pass http://$b;", (b"x",), "$b", id="map"),
        pytest.param(b"geo $b { 10.0.0.0/8 @0; } proxy_pass http://$b;", (b"x",), "$b", id="geo"),
        pytest.param(b"set $theirs @0;", (b"x",), "$theirs", id="another file's variable"),
        pytest.param(b"set $b @0; proxy_pass http://$b:80;", (b"web",), "$b", id="an upstream's name before a port"),
        pytest.param(
            b"server { server_name @0; proxy_pass http://$server_name; }",
            (b"127.0.0.1:8500",),
            "$server_name",
            id="a server's name",
        ),
        pytest.param(b"server { server_name @0; set $theirs $server_name; }", (b"x",), "$server_name", id="set to it"),
        pytest.param(b"pass @0;", (b"web",), "pass", id="a socket of nginx's own"),
        pytest.param(b"otel_exporter { endpoint @0; }", (b"web",), "endpoint", id="OpenTelemetry"),
        pytest.param(b"acme_issuer x { uri https://@0/dir; }", (b"web",), "uri", id="ACME"),
        pytest.param(b"push rtmp://@0/live;", (b"x",), "push", id="rtmp"),
        pytest.param(b"access_log syslog:server=@0;", (b"127.0.0.1",), "access_log", id="a log's server"),
        pytest.param(
            b"access_log syslog:server=10.0.0.1,tag=@0;",
            (b"x,server=127.0.0.1",),
            "access_log",
            id="a log's second server",
        ),
    ],
)
def test_values_may_not_choose_where_nginx_goes(source, values, goes):
    has_upstreams = goes.endswith("_pass") or (goes[0] == "$" and not re.search(rb"\$\w+[:.]|:\$", source))
    found = report(OWN + source, *values, inside=b"http", known=KNOWN).findings
    what = "would choose where {!r} goes, and names no upstream of this configuration and no instance's address"
    what = what if has_upstreams else what.replace("no upstream of this configuration and ", "")
    assert found[:1] == (MisplacedValue(data=0, reason=what.format(goes), rests_on_others=True),)


ASTRAY = "is part of the name of a variable that decides where 'proxy_pass' goes; "
SETS = "would set '$legacy', which decides where the template's own text goes; "
HERE = b"location / { %b proxy_pass http://$v_@0; }"


@pytest.mark.parametrize(
    ("source", "values", "reason"),
    [
        pytest.param(HERE % b"", (b"web",), ASTRAY, id="not set at all"),
        pytest.param(b"set $v_@0 web; " + HERE % b"", (b"web",), ASTRAY, id="set in another block"),
        pytest.param(HERE % b"" + b"location /a { set $v_@0 web; }", (b"web",), ASTRAY, id="set for another location"),
        pytest.param(HERE % b"if ($a) { set $v_@0 web; }", (b"web",), ASTRAY, id="set within an if"),
        pytest.param(HERE % b"if ($a) { break; } set $v_@0 web;", (b"web",), ASTRAY, id="perhaps not reached"),
        pytest.param(HERE % b"include x; set $v_@0 web;", (b"web",), ASTRAY, id="behind an include"),
        pytest.param(HERE % b"set $v_@0 web; set $v_x 127.0.0.1;", (b"x",), ASTRAY, id="set twice"),
        pytest.param(HERE % b"set $v_@0 web; auth_request_set $v_x $a;", (b"X",), ASTRAY, id="set by an answer"),
        pytest.param(HERE % b"set $v_@0 web; if ($uri ~ (?<v_x>.*)) { }", (b"x",), ASTRAY, id="set by a named group"),
        pytest.param(HERE % b"set $v_my own; set $v_@0 web;", (b"my-app",), ASTRAY, id="a name that ends early"),
        pytest.param(
            b"location / { set $v_a own; proxy_pass http://$v_@0:80; }", (b"a:8500",), ASTRAY, id="a port of its own"
        ),
        pytest.param(b"location / { proxy_pass http://$@0; set $@0 web; }", (b"http_host",), ASTRAY, id="set later"),
        pytest.param(b"set $@0 web; proxy_pass http://$legacy;", (b"legacy",), SETS, id="a variable of the template"),
        pytest.param(b"map $a $@0 { default web; } proxy_pass http://$legacy;", (b"legacy",), SETS, id="a map of it"),
        pytest.param(
            b"set $@0 @0; set $x $legacy; proxy_pass http://$x;", (b"legacy",), SETS, id="by way of another variable"
        ),
    ],
)
def test_a_name_of_a_variable_may_not_choose_where_nginx_goes(source, values, reason):
    found = report(OWN + source, *values, inside=b"http", known=KNOWN).findings
    assert found[:1]
    assert found[0].reason.startswith(reason)


@pytest.mark.parametrize("value", [b"x", b"127.0.0.1", b"10.0.0.9:80"])
def test_what_a_variable_named_after_a_value_is_set_to_is_judged(value):
    (found,) = report(OWN + HERE % b"set $v_@0 @1;", b"web", value, inside=b"http", known=KNOWN).findings
    assert (found.data, "'proxy_pass' goes, and names no upstream" in found.reason) == (1, True)


def test_the_reason_says_which_configuration_was_looked_at():
    (found,) = report(b"proxy_pass http://@0;", b"x", known=KnownRoutes(seen="/n.conf")).findings
    assert "names no upstream of this configuration (/n.conf) and no" in found.reason


def test_an_upstream_of_the_other_kind_is_none():
    text = b"http { server { location / { proxy_pass http://@0; } } } stream { upstream db { server 10.0.0.1:1; } %b }"
    assert report(text % b"", b"db").findings
    assert report(text.replace(b"http://@0", b"http://x") % b"server { proxy_pass @0; }", b"db") == ValueReport()


def test_entries_of_a_file_within_a_map_may_not_choose_either():
    known = KnownRoutes(routed=frozenset({b"b"}), variable=b"b")
    assert report(b"x @0;", b"10.9.9.9", inside=b"map", known=known).findings
    known = KnownRoutes(routed=frozenset({b"b"}), variable=b"c")
    assert report(b"x @0;", b"10.9.9.9", inside=b"map", known=known) == ValueReport()


@pytest.mark.parametrize(
    ("source", "values"),
    [
        pytest.param(b"set $r @0; root $r;", (b"/etc",), id="root"),
        pytest.param(b"map $host $r { a @0; } server { alias $r; }", (b"etc",), id="alias, by map"),
        pytest.param(b"set $r @0; set $s $r/www; root ${s};", (b"/etc",), id="by way of another"),
        pytest.param(b"set $R @0; access_log $r;", (b"/etc/cron.d/x",), id="a log"),
        pytest.param(b"set $r /c/@0; ssl_certificate $r;", (b"x/../../k",), id="a step out"),
        pytest.param(b"set $r @0; ssl_certificate /c/$r;", (b"../k",), id="a step out of the operator's folder"),
        pytest.param(b"set $r @0; access_log /l/$r$r/x;", (b".",), id="half a step out"),
        pytest.param(b"set $r @0; try_files /$r =404;", (b"../../etc/passwd",), id="a URI below the root"),
        pytest.param(b"server { server_name @0; root /c/$server_name; }", (b"a/../../etc",), id="a server's name"),
        pytest.param(b"server { server_name .@0; root $server_name; }", (b"/etc",), id="a name behind a dot"),
        pytest.param(b"set $theirs @0;", (b"/etc",), id="another file's variable"),
    ],
)
def test_values_may_not_choose_a_file_through_variables(source, values):
    known = KnownRoutes(paths=PathVariables(starts=frozenset({b"theirs"})))
    found = report(source, *values, inside=b"http", known=known).findings
    assert [finding.data for finding in found] == [0]
    assert "would choose a file through '$" in found[0].reason


@pytest.mark.parametrize(
    "source",
    [
        b"set $r @0; root /srv/$r;",
        b"set $r @0; access_log /var/log/$r.log;",
        b"set $r /srv/@0; root $r;",
        b"set $r @0; add_header X-Root $r;",
        b"set $r /@0/x; try_files $r $uri =404;",
        b"fastcgi_param SCRIPT_FILENAME /srv/@0/index.php; fastcgi_param SERVICE @0;",
    ],
)
def test_values_may_be_a_part_of_a_path_through_variables(source):
    assert report(source, b"shop.v2", inside=b"http") == ValueReport()


@pytest.mark.parametrize(
    "source",
    [b"try_files @0 =404;", b"index a @0;", b"rewrite ^ @0 break;", b"fastcgi_param SCRIPT_FILENAME /srv@0;"],
)
def test_values_may_not_step_out_of_the_root(source):
    (found,) = report(source, b"/x/../etc/passwd").findings
    name = source.split()[0].decode()
    assert found.reason == f"would leave the folder of the file that {name!r} opens"
    assert report(source, b"/a/b") == ValueReport()


@pytest.mark.parametrize("name", ["SCRIPT_FILENAME", "PHP_VALUE", "UWSGI_FILE", "UWSGI_MODULE"])
def test_values_may_not_begin_the_file_that_an_application_server_runs(name):
    (found,) = report(f"fastcgi_param {name} @0;".encode(), b"/tmp/x.php").findings
    assert found.reason == f"would choose the file of {name!r}"


@pytest.mark.parametrize(
    "setting", ["auto_prepend_file=@0", "memory_limit=1M\nerror_log = @0", "session.save_path='@0'", "extension=@0"]
)
def test_values_may_not_begin_a_file_of_phps_settings(setting):
    (found,) = report(f'fastcgi_param PHP_VALUE "{setting}";'.encode(), b"/tmp/x.php").findings
    assert found.reason == "would choose the file of 'PHP_VALUE'"


@pytest.mark.parametrize("setting", ["memory_limit=@0", "auto_prepend_file=/srv/@0"])
def test_values_may_be_other_settings_of_php_and_parts_of_paths_in_them(setting):
    assert report(f'fastcgi_param PHP_VALUE "{setting}";'.encode(), b"64M") == ValueReport()


@pytest.mark.parametrize("parameter", ["fastcgi_param @0 x", "uwsgi_param UWSGI_@0 x", "scgi_param SCRIPT_@0NAME x"])
def test_values_may_not_name_the_parameter_of_an_application_server(parameter):
    (found,) = report(f"{parameter};".encode(), b"FILE").findings
    assert found.reason == "would choose the parameter's name"


def test_values_may_end_the_name_of_an_operators_own_parameter():
    assert report(b"fastcgi_param META_@0 @1; uwsgi_param X_@0_Y z;", b"team", b"/a") == ValueReport()


@pytest.mark.parametrize("source", [b"auth_request @0;", b"mirror @0;", b"error_page 404 = @0;", b"post_action @0;"])
def test_values_may_not_begin_another_place_of_the_server(source):
    name = source.split()[0].decode()
    assert report(source, b"/x") == ValueReport(
        findings=(MisplacedValue(data=0, reason=f"would choose where {name!r} goes"),)
    )


def test_where_one_value_goes_right_the_others_alone_are_at_fault():
    found = report(OWN + b"proxy_pass http://@0; proxy_pass http://@1;", b"web", b"x", inside=b"http").findings
    assert [(one.data, one.is_misplaced) for one in found] == [(1, False)]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        pytest.param(b"http://legacy.internal", b"Legacy.internal", id="a host"),
        pytest.param(b"http://legacy:8080/x", b"legacy", id="with a port"),
        pytest.param(b"http://localhost", b"localhost", id="this host"),
    ],
)
def test_hosts_that_the_text_itself_names_are_taken(target, name):
    source = b"proxy_pass %b; upstream @0 { server 10.0.0.1:80; }" % target
    (clash,) = report(source, name, inside=b"http").clashes
    assert clash == Clash(name=("http upstream", name.lower()), data=(frozenset(), frozenset({0})))
    as_upstreams_are_named = source.replace(target, b"http://legacy")
    assert report(as_upstreams_are_named, b"legacy", inside=b"http").clashes == ()
