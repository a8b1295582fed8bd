"""Fixtures: real programs in the test's own folder, which always end with the test."""

import contextlib
from pathlib import Path

import pytest
from harness import Consul, Ctemplate, HttpBackend, Nginx, TcpBackend
from harness.scene import Scene

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(autouse=True)
def by_exec(request, monkeypatch):
    """Start ctemplate in tests with this mark by exec, not by a fork of a process that has loaded it."""
    if request.node.get_closest_marker("by_exec"):
        monkeypatch.setenv("CTEMPLATE_BY_EXEC", "1")


@pytest.fixture
def programs():
    """An exit stack that ends what was started, last started first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def start_consul(tmp_path, programs):
    """Start an agent: `start_consul(persistent=True, config={...}, http_port=..., name=...)`."""

    def start(**options) -> Consul:
        consul = Consul(tmp_path, **options)
        programs.callback(consul.kill)
        return consul.start()

    return start


@pytest.fixture
def consul(start_consul):
    """A running agent, all in memory, with Consul's default limits."""
    return start_consul()


@pytest.fixture
def nginx(tmp_path, programs):
    """An nginx that is not started yet: write `nginx.conf`, then `nginx.start()`."""
    nginx = Nginx(tmp_path)
    programs.callback(nginx.stop)
    return nginx


@pytest.fixture
def ctemplate(tmp_path, programs):
    """Start a ctemplate: `ctemplate("-once", "-template", "a:b", env={...}, name=...)`."""

    def start(*args, **options) -> Ctemplate:
        process = Ctemplate(tmp_path, *args, **options)
        programs.callback(process.kill)
        return process.start()

    return start


@pytest.fixture
def http_backend(programs):
    """Start an HTTP backend: `http_backend("a")`."""

    def start(name: str, **options) -> HttpBackend:
        backend = HttpBackend(name, **options)
        programs.callback(backend.stop)
        return backend.start()

    return start


@pytest.fixture
def tcp_backend(programs):
    """Start a TCP backend: `tcp_backend("a")`."""

    def start(name: str, **options) -> TcpBackend:
        backend = TcpBackend(name, **options)
        programs.callback(backend.stop)
        return backend.start()

    return start


@pytest.fixture
def scene(tmp_path, ctemplate):
    """Make a ctemplate that writes all services of a Consul to a file: `scene(consul).start()`."""
    return lambda consul: Scene(tmp_path, ctemplate, consul.port)
