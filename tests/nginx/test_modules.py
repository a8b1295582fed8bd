"""Which modules an nginx has, from what `nginx -V` says."""

from pathlib import Path

import pytest

from ctemplate.nginx.modules import Modules

DEBIAN = """\
nginx version: nginx/1.26.3
built with OpenSSL 3.5.7 9 Jun 2026
configure arguments: --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --modules-path=/usr/lib/nginx/modules \
--with-http_ssl_module --with-mail_ssl_module --with-http_xslt_module=dynamic --with-mail=dynamic \
--with-stream=dynamic --with-stream_ssl_preread_module --without-http_grpc_module --without-http-cache --with-threads
"""


def test_requested_removed_and_dynamic_modules_are_told_apart():
    found = Modules.from_output(DEBIAN)
    assert found.version == "1.26.3"
    assert found.requested == ("http_ssl", "http_xslt", "mail", "mail_ssl", "stream", "stream_ssl_preread")
    assert found.removed == ("http_grpc",)
    assert found.files == {
        "http_xslt": Path("/usr/lib/nginx/modules/ngx_http_xslt_filter_module.so"),
        "mail": Path("/usr/lib/nginx/modules/ngx_mail_module.so"),
        "stream": Path("/usr/lib/nginx/modules/ngx_stream_module.so"),
    }


def test_a_dynamic_module_counts_once_its_file_is_there(tmp_path):
    found = Modules.from_output(DEBIAN.replace("/usr/lib/nginx/modules", str(tmp_path)))
    assert found.present() == ("http_ssl", "mail_ssl", "stream_ssl_preread")
    (tmp_path / "ngx_stream_module.so").touch()
    assert "stream" in found.present()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("nginx version: openresty/1.25.3.1\n", "1.25.3.1"),
        ("Tengine version: Tengine/3.1.0\nnginx version: nginx/1.24.0\n", "1.24.0"),
        ("nginx version: nginx/1.31.3 (a build)\n", "1.31.3"),
        ("something else", ""),
        ("", ""),
    ],
)
def test_the_version_is_that_of_nginx_itself(text, version):
    assert Modules.from_output(text).version == version
