"""Metrics for Prometheus, in our own registry: counted from events, or read from a report at each scrape.

Labels have few values: groups, which the configuration names, and words of fixed lists. No label is a service's name.
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ctemplate import __version__
from ctemplate.core.event_stream import Event, SubscriberFailed
from ctemplate.core.events import (
    AnswerChanged,
    DefectFound,
    LoopMeasured,
    LoopStalled,
    OutageBegan,
    RequestEnded,
)
from ctemplate.core.group_events import Applied, CheckEnded, GroupFailed, ReloadEnded, Rendered, RolledBack
from ctemplate.status.report import GroupStatus, Report

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CHANGE_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
LAG_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
RENDER_RESULTS = ("ok", "waiting", "failed")
CHECK_RESULTS = ("accepted", "unread", "refused", "impossible", "failed")
RELOAD_RESULTS_COUNTED = ("applied", "pending", "rejected", "unproven", "failed")
FAILURE_EVENTS = ("render_failed", "candidate_rejected", "reload_failed", "files_failed")


class Metrics:
    """All metrics of one daemon; ``take`` subscribes to its events."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a series more for each counter, for what restarts of ctemplate show as well
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._make_work()
        self._make_consul()
        self._make_state()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="ctemplate", registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="ctemplate", registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, namespace="ctemplate", buckets=buckets, registry=self.registry)

    def _make_work(self) -> None:
        """Create the metrics that count and time the work of groups."""
        self._events = self._counter("events", "Events of docs/events.md, by name.", "event")
        self._renders = self._counter("renders", "Renders of a group, by result.", "group", "result")
        self._render_time = self._histogram("render_duration_seconds", "Duration of a render.", SECONDS, "group")
        self._checks = self._counter("checks", "Checks of candidates, by result.", "group", "result")
        self._check_time = self._histogram("check_duration_seconds", "Duration of a check.", SECONDS, "group")
        self._reloads = self._counter("reloads", "Reloads with their proof, by result.", "group", "result")
        self._reload_time = self._histogram("reload_duration_seconds", "Duration of a reload.", SECONDS, "group")
        self._applied = self._counter("applied", "Changes that went live.", "group")
        self._rolled_back = self._counter("rollbacks", "Changes that were rolled back.", "group")
        self._failures = self._counter("failures", "Failed renders and changes of a group, by event.", "group", "event")
        text = "From the arrival of changed data to the proof that nginx has loaded it."
        self._change_time = self._histogram("change_to_live_seconds", text, CHANGE_SECONDS, "group")
        self._defects = self._counter("internal_errors", "Defects of ctemplate itself, including repeated ones.")
        self._stalls = self._counter("event_loop_stalls", "Times that the event loop was blocked for two seconds.")
        self._lag = self._histogram("event_loop_lag_seconds", "Lateness of the event loop.", LAG_SECONDS)

    def _make_consul(self) -> None:
        """Create the metrics that count requests to Consul and outages."""
        self._requests = self._counter("consul_requests", "Requests to Consul, by result: ok or a cause.", "result")
        self._outages = self._counter("consul_outages", "Outages of Consul or of queries, by cause.", "cause")
        self._changes = self._counter("answer_changes", "Answers that changed, by kind of query.", "kind")
        self._connections = self._gauge("consul_connections", "Open connections to Consul.")
        self._ongoing = self._gauge("consul_outages_ongoing", "Ongoing outages, by cause.", "cause")
        text = "How long an answer has not been known to be current; 0 while Consul answers."
        self._data_age = self._gauge("data_age_seconds", text)
        self._oldest = self._gauge("oldest_answer_timestamp_seconds", "When the oldest answer was read.")
        self._queries = self._gauge("queries", "Queries in use, by kind and state.", "kind", "state")

    def _make_state(self) -> None:
        """Create the metrics that are read from a report."""
        info = self._gauge("build_info", "1, labelled with the version.", "version")
        info.labels(version=__version__).set(1)
        self._started = self._gauge("start_timestamp_seconds", "When ctemplate started.")
        self._tasks = self._gauge("tasks", "Active tasks of the event loop.")
        self._is_ready = self._gauge("ready", "1 while /readyz answers 200.")
        self._is_read = self._gauge("config_last_read_successful", "0 while a changed configuration is refused.")
        self._read_at = self._gauge(
            "config_last_read_success_timestamp_seconds", "When the configuration in use was read."
        )
        self._group_state = self._gauge("group_failed", "1 while the group's last attempt failed.", "group")
        self._edit = self._gauge(
            "edit_refused", "1 while the templates from before a refused edit are in use.", "group"
        )
        self._owed = self._gauge(
            "reload_owed", "1 while it is not proven that the program has loaded the files.", "group"
        )
        text = "0 while no running nginx is found that reads the group's files; absent for other programs."
        self._is_running = self._gauge("program_running", text, "group")
        text = "When this process last applied the group; 0 if it has not yet."
        self._applied_at = self._gauge("group_last_applied_timestamp_seconds", text, "group")
        self._left_out = self._gauge("quarantined_services", "Services left out completely.", "group")
        self._out_instances = self._gauge("quarantined_instances", "Single instances left out.", "group")
        self._kept = self._gauge("kept_services", "Services rendered from their last good data.", "group")
        self._draining = self._gauge("draining_workers", "Old workers that are finishing their connections.", "group")
        self._holds = self._gauge("held_queries", "Queries with entries held by the guard, by cause.", "cause")
        self._held = self._gauge("held_entries", "Instances and services held by the guard, by cause.", "cause")
        self._unverified = self._gauge("unverified_queries", "Queries whose empty first answer is not accepted.")

    def take(self, event: Event) -> None:
        """Count an event."""
        self._events.labels(event=event.name).inc()
        if isinstance(event, AnswerChanged):
            self._changes.labels(kind=event.kind).inc()
        elif isinstance(event, RequestEnded):
            self._requests.labels(result=event.result).inc()
        elif isinstance(event, LoopMeasured):
            self._lag.observe(event.lag)
        elif isinstance(event, OutageBegan):
            self._outages.labels(cause=event.cause).inc()
        elif isinstance(event, DefectFound | SubscriberFailed):
            self._defects.inc()
        elif isinstance(event, LoopStalled):
            self._stalls.inc()
        else:
            self._take_group(event)

    def _take_group(self, event: Event) -> None:
        """Count an event of a group."""
        if isinstance(event, Rendered):
            self._renders.labels(group=event.group, result=event.result).inc()
            self._render_time.labels(group=event.group).observe(event.seconds)
        elif isinstance(event, CheckEnded):
            self._checks.labels(group=event.group, result=event.result).inc()
            self._check_time.labels(group=event.group).observe(event.seconds)
        elif isinstance(event, ReloadEnded):
            self._reloads.labels(group=event.group, result=event.result).inc()
            self._reload_time.labels(group=event.group).observe(event.seconds)
        elif isinstance(event, Applied):
            self._applied.labels(group=event.group).inc()
            if event.waited is not None:
                self._change_time.labels(group=event.group).observe(event.waited)
        elif isinstance(event, RolledBack):
            self._rolled_back.labels(group=event.group).inc()
        elif isinstance(event, GroupFailed):
            self._failures.labels(group=event.group, event=event.name).inc()

    def exposition(self, report: Report) -> bytes:
        """Return all metrics in Prometheus's text format, with the state from a report."""
        self._started.set(report.started_at)
        self._tasks.set(_living_tasks())
        self._is_ready.set(report.is_ready)
        self._is_read.set(not report.configuration.refused)
        self._read_at.set(report.configuration.read_at)
        self._connections.set(report.source.connections)
        self._data_age.set(report.source.data_age)
        self._oldest.set(report.source.oldest_answer_at or 0)
        self._unverified.set(len(report.unverified))
        self._show(self._ongoing, Tally(outage.cause for outage in report.source.outages))
        self._show(self._holds, Tally(hold.cause for hold in report.holds))
        self._show(self._held, _entries(report))
        self._queries.clear()
        for count in report.queries:
            self._queries.labels(kind=count.kind, state=count.state).set(count.count)
        for gauge in self._of_groups:
            gauge.clear()
        for group in report.groups:
            self._show_group(group)
        return generate_latest(self.registry)

    @property
    def _of_groups(self) -> tuple[Gauge, ...]:
        """Return the gauges of groups, which are removed with their group."""
        services = (self._left_out, self._out_instances, self._kept)
        state = (self._group_state, self._edit, self._owed, self._applied_at)
        return (*state, self._draining, self._is_running, *services)

    def _show(self, gauge: Gauge, counts: Tally[str]) -> None:
        gauge.clear()
        for label, count in counts.items():
            gauge.labels(label).set(count)

    def _begin_at_zero(self, group: str) -> None:
        """Create a group's counters with 0 before anything is counted, so that the first event shows as an increase."""
        work = ((self._renders, RENDER_RESULTS), (self._checks, CHECK_RESULTS))
        ends = ((self._reloads, RELOAD_RESULTS_COUNTED), (self._failures, FAILURE_EVENTS))
        for counter, values in (*work, *ends):
            for value in values:
                counter.labels(group, value)
        for counter in (self._applied, self._rolled_back):
            counter.labels(group)
        for histogram in (self._render_time, self._check_time, self._reload_time, self._change_time):
            histogram.labels(group)

    def _show_group(self, group: GroupStatus) -> None:
        self._begin_at_zero(group.name)
        self._group_state.labels(group.name).set(group.state == "failed")
        self._edit.labels(group.name).set(bool(group.refused_edit))
        self._owed.labels(group.name).set(group.owes_reload)
        self._applied_at.labels(group.name).set(group.last_applied_at or 0)
        if group.draining is not None:
            self._draining.labels(group.name).set(group.draining)
            self._is_running.labels(group.name).set(not group.not_running)
        whole = {each.service for each in group.left_out if not each.instance and not each.is_kept}
        single = {(each.service, each.instance) for each in group.left_out if each.instance and not each.is_kept}
        self._left_out.labels(group.name).set(len(whole))
        self._out_instances.labels(group.name).set(len(single))
        self._kept.labels(group.name).set(len({each.service for each in group.left_out if each.is_kept}))


def _living_tasks() -> int:
    """Count the tasks of the loop that answers the scrape; 0 if no loop runs."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


def _entries(report: Report) -> Tally[str]:
    counts: Tally[str] = Tally()
    for hold in report.holds:
        counts[hold.cause] += hold.entries
    return counts
