from pathlib import Path

import pytest

from ctemplate.apply import LiveChange
from ctemplate.nginx.change import CHANGE_LIMIT_BYTES, traffic_changes

A, B = Path("/etc/nginx/a.conf"), Path("/etc/nginx/b.conf")


def change(**contents):
    paths = {"a": A, "b": B}
    return LiveChange(
        files=(A, B),
        before={paths[name]: before for name, (before, _) in contents.items()},
        after={paths[name]: after for name, (_, after) in contents.items()},
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            change(a=(b"upstream web { server 10.0.0.1:1; }", b"upstream web { server 10.0.0.2:1; }")),
            ("web: −10.0.0.1:1, +10.0.0.2:1",),
            id="backends",
        ),
        pytest.param(
            change(a=(None, b"upstream web { server 10.0.0.1:1; }")),
            ("upstream web added: +10.0.0.1:1",),
            id="new file",
        ),
        pytest.param(
            change(a=(b"upstream u { server a:1; }", b""), b=(b"", b"upstream u { server a:1; }")), (), id="moved"
        ),
        pytest.param(change(), (), id="no change on disk"),
    ],
)
def test_a_change_is_told_in_nginx_terms(given, said):
    assert traffic_changes(given).sentences == said


@pytest.mark.parametrize(
    "content", [b"upstream {", b"#" * (CHANGE_LIMIT_BYTES + 1)], ids=["not nginx's language", "too large"]
)
def test_what_cannot_be_read_has_no_meaning(content):
    assert traffic_changes(change(a=(b"", content))) is None
