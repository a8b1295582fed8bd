"""The version and the modules of the group's nginx, in templates, in catalog files and in shipped macros."""

import pytest

from ctemplate.core.errors import ConfigError, TemplateError
from ctemplate.core.model import Answer, Snapshot
from ctemplate.guard import Memory
from ctemplate.queries import NginxBuild, NginxBuildQuery, ServicesQuery
from ctemplate.runtime.answer_store import load_answers, save_answers
from ctemplate.sources.contents import answer, dump, parse_catalog, recorded
from ctemplate.template import Renderer, Template

NGINX = NginxBuildQuery(path="nginx")
OLD = NginxBuild(version="1.18.0", modules=("http_ssl", "http_v2", "stream", "stream_ssl_preread"))
DEBIAN_12 = NginxBuild(version="1.22.1", modules=OLD.modules)
DEBIAN_13 = NginxBuild(version="1.26.3", modules=OLD.modules)
BARE = NginxBuild(version="1.26.3", without=("http_grpc",))


def text_for(build, text, folder, program="nginx"):
    """Render a text for an nginx; None for one that cannot be asked."""
    source = folder / "t.j2"
    source.write_text(text)
    query = NginxBuildQuery(path=program)
    answers = {
        query: Answer(query=query, value=() if build is None else (build,)),
        ServicesQuery(): Answer(query=ServicesQuery(), value=()),
    }
    template = Template.load(source, variables={}, environ={}, nginx_program=program)
    rendering = Renderer([template]).render(Snapshot(answers))
    assert rendering.missing == frozenset()
    return rendering.texts[0]


@pytest.mark.parametrize(
    ("expression", "build", "expected"),
    [
        ("nginx_version()", DEBIAN_13, "1.26.3"),
        ("nginx_version() or 'unknown'", None, "unknown"),
        ('nginx_since("1.25.1")', DEBIAN_13, "True"),
        ('nginx_since("1.26.3")', DEBIAN_13, "True"),
        ('nginx_since("1.26.4")', DEBIAN_13, "False"),
        ('nginx_since("1.26.3.1")', DEBIAN_13, "False"),
        ('nginx_since("1.9")', DEBIAN_12, "True"),
        ('nginx_since("1.9")', None, "False"),
        ('nginx_since("1.9", default=true)', None, "True"),
        ('nginx_has("http_v2")', DEBIAN_12, "True"),
        ('nginx_has("http_v3")', DEBIAN_12, "False"),
        ('nginx_has("http_v3")', None, "True"),
        ('nginx_has("http_v3", default=false)', None, "False"),
        ('nginx_has("http_grpc")', DEBIAN_12, "True"),
        ('nginx_has("http_grpc")', BARE, "False"),
        ('nginx_has("stream_map")', DEBIAN_12, "True"),
        ('nginx_has("stream_map")', BARE, "False"),
        ('nginx_has("stream_pass")', DEBIAN_12, "False"),
        ('nginx_has("stream_pass")', DEBIAN_13, "True"),
    ],
)
def test_a_template_reads_version_and_modules(tmp_path, expression, build, expected):
    assert text_for(build, f"{{{{ {expression} }}}}\n", tmp_path) == f"{expected}\n"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ('nginx_since("1.x")', "'1.x' is no version of nginx, such as '1.25.1'"),
        ('nginx_has("ssl")', "nginx_has: nginx has no module named 'ssl', such as 'http_v2'"),
    ],
)
@pytest.mark.parametrize("build", [None, DEBIAN_13])
def test_a_wrong_argument_is_an_error_whatever_the_nginx(tmp_path, expression, said, build):
    with pytest.raises(TemplateError) as error:
        text_for(build, f"{{{{ {expression} }}}}\n", tmp_path)
    assert str(error.value).endswith(f"t.j2:1: {said}")


def test_the_nginx_is_the_one_that_the_group_names(tmp_path):
    assert text_for(DEBIAN_12, "{{ nginx_version() }}\n", tmp_path, program="/opt/nginx/sbin/nginx") == "1.22.1\n"


def test_a_template_waits_until_the_nginx_has_been_asked(tmp_path):
    (tmp_path / "t.j2").write_text("{{ nginx_version() }}\n")
    template = Template.load(tmp_path / "t.j2", variables={}, environ={})
    assert Renderer([template]).render(Snapshot({})).missing == {NGINX}


@pytest.mark.parametrize("build", [DEBIAN_13, BARE])
def test_a_capture_gives_the_same_nginx_again(build):
    own = Answer(query=NGINX, value=(build,))
    other = Answer(query=NginxBuildQuery(path="/opt/nginx"), value=(DEBIAN_12,))
    again = parse_catalog(dump(recorded([own, other])), name="c.yaml")
    assert [answer(again, each.query).value for each in (own, other)] == [own.value, other.value]


def test_a_catalog_file_without_an_nginx_has_none_whatever_this_host_has():
    assert answer(parse_catalog("services: {}", name="c.yaml"), NGINX).value == ()


def test_a_version_in_a_catalog_file_must_be_one():
    with pytest.raises(ConfigError, match=r"c\.yaml: nginx\.nginx\.version: "):
        parse_catalog("nginx: {nginx: {version: new}}", name="c.yaml")


def test_an_answer_is_stored_for_a_later_process(tmp_path):
    kept = Memory(answer=Answer(query=NGINX, value=(DEBIAN_13,), seen_at=1.0))
    assert save_answers(tmp_path / "answers", [kept], wall=2.0)
    assert load_answers(tmp_path / "answers") == (kept,)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (None, ["listen 443 ssl http2;"]),
        (DEBIAN_12, ["listen 443 ssl http2;"]),
        (DEBIAN_13, ["listen 443 ssl;", "http2 on;"]),
    ],
)
def test_http2_is_written_as_the_nginx_wants_it(tmp_path, build, expected):
    macro = '{% import "ctemplate/nginx.j2" as nginx %}\nserver {\n{{- nginx.listen_http2(443, "ssl") }}\n}\n'
    lines = text_for(build, macro, tmp_path).splitlines()
    assert [line.strip() for line in lines] == ["server {", *expected, "}"]


TLS = '{% import "ctemplate/tls.j2" as tls %}\n'
MICRO = '{% import "ctemplate/micro.j2" as micro %}\n'


@pytest.mark.parametrize(
    ("text", "build", "said"),
    [
        pytest.param(
            TLS + 'stream {\n{{- tls.passthrough("x") }}\n}\n',
            BARE,
            "tls.passthrough: nginx 1.26.3 has no module stream_ssl_preread; install it, or an nginx that has it",
            id="no stream",
        ),
        pytest.param(
            TLS + 'http {\n{{- tls.servers("x") }}\n}\n',
            BARE,
            "tls.servers: nginx 1.26.3 has no module http_ssl; install it, or an nginx that has it",
            id="no TLS",
        ),
        pytest.param(
            TLS + 'http {\n{{- tls.servers("x") }}\n}\n',
            OLD,
            "tls.servers with its default server, which default=false leaves out: nginx 1.18.0 is older than 1.19.4",
            id="no rejected handshakes",
        ),
        pytest.param(
            MICRO + "http {\n{{- micro.gateway(grpc_port=81) }}\n}\n",
            NginxBuild(version="1.26.3", modules=("http_v2",), without=("http_grpc",)),
            "micro.gateway with grpc_port: nginx 1.26.3 has no module http_grpc; install it, or an nginx that has it",
            id="no gRPC",
        ),
    ],
)
def test_a_macro_says_what_the_nginx_lacks(tmp_path, text, build, said):
    with pytest.raises(TemplateError) as error:
        text_for(build, text, tmp_path)
    assert str(error.value).partition(": ")[2] == said
    assert text_for(None, text, tmp_path)
    assert text_for(DEBIAN_13, text, tmp_path)


def test_what_a_macro_can_leave_out_it_does_not_need(tmp_path):
    assert text_for(OLD, TLS + 'http {\n{{- tls.servers("x", default=false) }}\n}\n', tmp_path)
    assert text_for(BARE, MICRO + "http {\n{{- micro.gateway() }}\n}\n", tmp_path)
