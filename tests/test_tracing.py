"""A change of a group is one trace, and a daemon exports it."""

import pytest
from harness import wait_for
from harness.ctemplate import Ctemplate
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ctemplate.core.errors import ConfigError
from ctemplate.core.events import AnswerChanged
from ctemplate.core.group_events import (
    Applied,
    CheckEnded,
    FilesReplaced,
    ReloadEnded,
    ReloadFailed,
    Rendered,
    RolledBack,
)
from ctemplate.runtime import tracing_service
from ctemplate.runtime.tracing import STEPS_KEPT, Tracing

LIMIT = 60.0
EDGE = {"group": "edge", "subject": "nginx.conf"}
CHANGED = AnswerChanged(query="service(web)", kind="service")


def rendered(result="ok"):
    return Rendered(**EDGE, result=result, seconds=0.002)


CHECKED = CheckEnded(**EDGE, result="accepted", seconds=0.003)
RELOADED = ReloadEnded(**EDGE, result="applied", seconds=0.004)
REPLACED = FilesReplaced(**EDGE, diff=("+a",), causes=())
APPLIED = Applied(**EDGE, waited=0.02, lines_added=1)


def spans(*events):
    """Return the spans that events make: the root first."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    for event in events:
        tracing.take(event)
    tracing._provider.shutdown()
    return sorted(exporter.get_finished_spans(), key=lambda span: (span.parent is not None, span.start_time, span.name))


def test_a_change_is_one_trace():
    root, *inside = spans(CHANGED, rendered(), CHECKED, RELOADED, REPLACED, APPLIED)
    assert (root.name, root.parent) == ("change", None)
    assert {span.name for span in inside} == {"answer", "render", "check", "reload", "files replaced"}
    assert {span.context.trace_id for span in inside} == {root.context.trace_id}
    assert {span.parent.span_id for span in inside} == {root.context.span_id}
    assert all(root.start_time <= span.start_time <= span.end_time <= root.end_time for span in inside)
    assert root.attributes["ctemplate.group"] == "edge"
    assert root.attributes["ctemplate.lines_added"] == 1
    render = next(span for span in inside if span.name == "render")
    assert render.end_time - render.start_time == 2_000_000


def test_each_change_is_a_trace_of_its_own_with_its_own_steps():
    found = spans(rendered(), CHECKED, Applied(**EDGE), rendered(), RELOADED, Applied(**EDGE))
    assert len({span.context.trace_id for span in found}) == 2
    assert sorted(span.name for span in found) == ["change", "change", "check", "reload", "render", "render"]


def test_groups_do_not_mix():
    other = Rendered(group="other", result="ok", seconds=0.1)
    assert [span.name for span in spans(other, rendered(), APPLIED)] == ["change", "render"]


def test_a_change_that_fails_is_an_error():
    failed = ReloadFailed(**EDGE, where="nginx.conf", what="nginx kept its old configuration")
    rejected = ReloadEnded(**EDGE, result="rejected", seconds=0.004)
    root, *inside = spans(rendered(), CHECKED, rejected, RolledBack(**EDGE), failed)
    assert root.status.description == "nginx.conf: nginx kept its old configuration"
    assert {span.name: span.status.is_ok for span in inside}["reload"] is False
    assert "roll back" in {span.name for span in inside}


def test_steps_without_an_end_are_bounded():
    assert len(spans(*[rendered()] * 3 * STEPS_KEPT, APPLIED)) <= STEPS_KEPT + 1


def test_without_the_packages_the_configuration_is_refused(monkeypatch):
    monkeypatch.setattr(tracing_service, "EXPORTER", "opentelemetry.no.such.exporter")
    with pytest.raises(ConfigError, match=r"^tracing: needs OpenTelemetry; install ctemplate\[otel\]$"):
        tracing_service.check_tracing()


def test_a_daemon_sends_its_traces(tmp_path, httpserver):
    httpserver.expect_request("/v1/traces", method="POST").respond_with_data(b"")
    (tmp_path / "catalog.yaml").write_text("services:\n  web:\n    instances:\n      - {address: 10.0.0.1, port: 80}\n")
    (tmp_path / "t.j2").write_text("{% for i in service('web') %}\nserver {{ i.address }};\n{% endfor %}\n")
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": httpserver.url_for(""), "OTEL_BSP_SCHEDULE_DELAY": "100"}
    arguments = ("-catalog", tmp_path / "catalog.yaml", "-template", f"{tmp_path}/t.j2:{tmp_path}/out", "-tracing")
    daemon = Ctemplate(tmp_path, *arguments, env=endpoint).start()
    try:
        wait_for(lambda: httpserver.log, LIMIT, "a trace", log=daemon.log)
    finally:
        daemon.stop()
    sent = httpserver.log[0][0].get_data()
    assert b"change" in sent
    assert b"render" in sent
