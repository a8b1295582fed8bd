"""Metrics: those counted from events, those read from reports, and that the page documents each of them."""

import re
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parent))
from reports import GROUP, SOURCE, group, report  # the reports of this folder's tests

from ctemplate.core import events, group_events
from ctemplate.core.event_stream import SubscriberFailed
from ctemplate.status.metrics import FAILURE_EVENTS, Metrics
from ctemplate.status.report import ConfigurationStatus, HoldStatus, LeftOut, OutageStatus, QueryCount

PAGE = Path(__file__).parents[2] / "docs" / "status.md"
MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"


def families(metrics, **changes):
    text = metrics.exposition(report(**changes)).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(metrics, **changes):
    """Every sample but those of buckets: ``{(name, labels): value}``, labels as ``a=b``."""
    found = (sample for family in families(metrics, **changes).values() for sample in family.samples)
    return {
        (sample.name, ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for sample in found
        if not sample.name.endswith("_bucket")
    }


G = {"group": "nginx"}
CHECKED = group_events.CheckEnded(**G, result="refused", seconds=0.5)
RELOADED = group_events.ReloadEnded(**G, result="applied", seconds=1.0)
FAILED = {**G, "where": "nginx", "what": "refused"}


@pytest.mark.parametrize(
    ("event", "name", "labels", "value"),
    [
        (events.AnswerChanged(query="service(web)", kind="service"), "answer_changes_total", "kind=service", 1),
        (events.RequestEnded(result="denied"), "consul_requests_total", "result=denied", 1),
        (
            events.OutageBegan(cause="unreachable", subject="a", text="x"),
            "consul_outages_total",
            "cause=unreachable",
            1,
        ),
        (events.LoopMeasured(lag=0.25), "event_loop_lag_seconds_sum", "", 0.25),
        (events.LoopStalled(seconds=2.0, where="x"), "event_loop_stalls_total", "", 1),
        (events.DefectFound(where="a", what="b"), "internal_errors_total", "", 1),
        (SubscriberFailed(subscriber="a", cause="b"), "internal_errors_total", "", 1),
        (group_events.Rendered(**G, result="ok", seconds=0.5), "renders_total", "group=nginx,result=ok", 1),
        (group_events.Rendered(**G, result="ok", seconds=0.5), "render_duration_seconds_sum", "group=nginx", 0.5),
        (group_events.CheckEnded(**G, result="refused", seconds=0.5), "checks_total", "group=nginx,result=refused", 1),
        (group_events.CheckEnded(**G, result="refused", seconds=0.5), "check_duration_seconds_sum", "group=nginx", 0.5),
        (
            group_events.ReloadEnded(**G, result="applied", seconds=1.0),
            "reloads_total",
            "group=nginx,result=applied",
            1,
        ),
        (group_events.ReloadEnded(**G, result="applied", seconds=1.0), "reload_duration_seconds_sum", "group=nginx", 1),
        (group_events.Applied(**G, waited=0.5), "applied_total", "group=nginx", 1),
        (group_events.Applied(**G, waited=0.5), "change_to_live_seconds_sum", "group=nginx", 0.5),
        (group_events.Applied(**G), "change_to_live_seconds_count", "group=nginx", 0),
        (group_events.RolledBack(**G), "rollbacks_total", "group=nginx", 1),
        (group_events.ReloadFailed(**FAILED), "failures_total", "event=reload_failed,group=nginx", 1),
        (group_events.ReloadDelayed(generations=4, seconds=1.0), "events_total", "event=reload_delayed", 1),
    ],
)
def test_an_event_counts(event, name, labels, value):
    metrics = Metrics()
    metrics.take(event)
    assert samples(metrics)[f"ctemplate_{name}", labels] == value


@pytest.mark.parametrize(
    ("changes", "name", "labels", "value"),
    [
        ({}, "ready", "", 1),
        ({"is_ready": False}, "ready", "", 0),
        ({}, "config_last_read_successful", "", 1),
        ({"configuration": ConfigurationStatus(read_at=1.0, refused="x")}, "config_last_read_successful", "", 0),
        ({}, "consul_connections", "", 3),
        ({}, "oldest_answer_timestamp_seconds", "", 1010),
        ({}, "start_timestamp_seconds", "", 900),
        ({}, "group_failed", "group=nginx", 0),
        ({"groups": (group(state="failed"),)}, "group_failed", "group=nginx", 1),
        ({"groups": (group(owes_reload=True),)}, "reload_owed", "group=nginx", 1),
        ({}, "group_last_applied_timestamp_seconds", "group=nginx", 1000),
        ({}, "draining_workers", "group=nginx", 2),
        ({"queries": (QueryCount(kind="service", state="held", count=7),)}, "queries", "kind=service,state=held", 7),
        ({"unverified": ("service(a)", "service(b)")}, "unverified_queries", "", 2),
    ],
)
def test_a_report_shows(changes, name, labels, value):
    assert samples(Metrics(), **changes)[f"ctemplate_{name}", labels] == value


def left_out(*entries):
    return tuple(LeftOut(service=s, instance=i, reason="x", is_kept=kept) for s, i, kept in entries)


def test_services_and_instances_that_are_left_out_are_counted_once_each():
    entries = left_out(("a", "", False), ("a", "", False), ("b", "1", False), ("b", "2", False), ("c", "", True))
    found = samples(Metrics(), groups=(group(left_out=entries),))
    counts = [found[f"ctemplate_{name}", "group=nginx"] for name in ("quarantined_services", "quarantined_instances")]
    assert (counts, found["ctemplate_kept_services", "group=nginx"]) == ([1, 2], 1)


def test_what_is_over_is_gone_from_the_next_scrape():
    metrics = Metrics()
    hold = HoldStatus(query="service(web)", cause="loss", reason="x", entries=3, since=1.0, until=None)
    outage = OutageStatus(cause="denied", subject="a", since=1.0, queries=1)
    first = samples(metrics, holds=(hold, hold), source=SOURCE.__class__(**{**fields(SOURCE), "outages": (outage,)}))
    assert (first["ctemplate_held_queries", "cause=loss"], first["ctemplate_held_entries", "cause=loss"]) == (2, 6)
    assert first["ctemplate_consul_outages_ongoing", "cause=denied"] == 1
    later = samples(metrics, groups=(group(name="other", draining=None),))
    gone = ("held_queries", "held_entries", "consul_outages_ongoing", "draining_workers", "group_failed")
    assert [key for key in later if key[0].removeprefix("ctemplate_") in gone] == [
        ("ctemplate_group_failed", "group=other")
    ]


def fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_counters_of_a_group_begin_at_zero_so_that_the_first_failure_is_an_increase():
    found = samples(Metrics())
    for event in FAILURE_EVENTS:
        assert found["ctemplate_failures_total", f"event={event},group=nginx"] == 0
    assert found["ctemplate_reloads_total", "group=nginx,result=rejected"] == 0
    kinds = {kind.__struct_config__.tag for kind in group_events.GroupFailed.__subclasses__()}
    assert kinds == set(FAILURE_EVENTS)


def test_names_of_services_make_no_series():
    metrics = Metrics()
    before = len(samples(metrics))
    for number in range(500):
        name = f"s{number}"
        metrics.take(events.AnswerChanged(query=f"service({name})", kind="service"))
        metrics.take(group_events.Quarantined(**G, service=name, text="x"))
        metrics.take(events.DataLeftOut(text=name))
        metrics.take(events.HoldBegan(text=name, queries=(name,)))
    assert len(samples(metrics)) < before + 10


def test_each_metric_is_documented_with_its_type_and_labels():
    rows = re.findall(r"^\| `(ctemplate_\w+)` \| (\w+) \| (.*?) \| .+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert told == metrics_made()


def metrics_made():
    made = Metrics()
    collectors = {collector for collector in made.registry._collector_to_names if hasattr(collector, "_labelnames")}
    return {
        each._name + ("_total" if each._type == "counter" else ""): (each._type, tuple(each._labelnames))
        for each in collectors
    }


@pytest.mark.parametrize("name", sorted(metrics_made()))
def test_names_follow_prometheus_conventions(name):
    kind, _ = metrics_made()[name]
    assert re.fullmatch(r"ctemplate(_[a-z0-9]+)+", name)
    assert name.endswith("_total") is (kind == "counter")
    assert kind != "histogram" or name.endswith("_seconds")
    assert not re.search(r"_(ms|milliseconds|minutes|count|sum|bucket|gauge|counter)(_|$)", name)


def test_a_scrape_of_the_group_s_report_parses():
    assert families(Metrics(), groups=(GROUP, group(name='a"\n\\b')))


def used_metrics():
    """Every metric that the examples of monitoring use, with the file that does."""
    for path in sorted(MONITORING.iterdir()):
        for name in sorted(set(re.findall(r"\bctemplate_[a-z0-9_]+", path.read_text("utf-8")))):
            yield pytest.param(re.sub(r"_(bucket|sum|count)$", "", name), id=f"{path.name}: {name}")


@pytest.mark.parametrize("name", list(used_metrics()))
def test_each_metric_that_dashboard_and_alerts_use_exists(name):
    assert name in metrics_made()


def test_dashboard_and_alerts_cover_what_needs_a_person():
    alerts = (MONITORING / "alerts.yml").read_text("utf-8")
    needed = (
        "group_failed",
        "reload_owed",
        "edit_refused",
        "data_age_seconds",
        "held_entries",
        "internal_errors_total",
    )
    assert [name for name in needed if f"ctemplate_{name}" not in alerts] == []


def test_labels_in_the_alerts_exist():
    labels = set(re.findall(r"\$labels\.(\w+)", (MONITORING / "alerts.yml").read_text("utf-8")))
    assert labels <= {"instance", *(label for _, names in metrics_made().values() for label in names)}
