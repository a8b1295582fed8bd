"""Reports for tests: that of a healthy ctemplate, and variations of it."""

import msgspec

from ctemplate.status.report import ConfigurationStatus, GroupStatus, Report, SourceStatus

GROUP = GroupStatus(
    name="nginx",
    files=("/etc/nginx/nginx.conf",),
    state="applied",
    error="",
    refused_edit="",
    owes_reload=False,
    last_applied_at=1000.0,
    last_change=("web: +10.0.0.1:80",),
    missing=(),
    missing_count=0,
    left_out=(),
    draining=2,
    stuck_for=0.0,
)
SOURCE = SourceStatus(name="Consul", connections=3, outages=(), data_age=0.0, oldest_answer_at=1010.0)


def group(**changes):
    return msgspec.structs.replace(GROUP, **changes)


def report(**changes):
    well = Report(
        ctemplate="1.0",
        pid=42,
        started_at=900.0,
        at=1020.0,
        is_ready=True,
        problems=(),
        configuration=ConfigurationStatus(read_at=900.0, refused=""),
        source=SOURCE,
        queries=(),
        groups=(GROUP,),
        holds=(),
        unverified=(),
        internal_errors=0,
        loop_lag=0.0,
    )
    return msgspec.structs.replace(well, **changes)
