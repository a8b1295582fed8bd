"""The health in a report, and its text at a terminal."""

import sys
from pathlib import Path

import msgspec
import pytest
from harness.schemas import schema_of

sys.path.insert(0, str(Path(__file__).parent))
from reports import SOURCE, group, report  # the reports of this folder's tests

from ctemplate.core.errors import ConfigError
from ctemplate.status.address import StatusAddress, parse_status_address
from ctemplate.status.health import STUCK_AFTER, readiness_problems, stuck_groups
from ctemplate.status.report import HoldStatus, LeftOut, OutageStatus, QueryCount, Report
from ctemplate.status.text import report_lines

SCHEMA = Path(__file__).parents[2] / "docs" / "status.schema.json"
HOLD = HoldStatus(
    query="service(web)",
    cause="loss",
    reason="vanished at once",
    entries=3,
    since=1000.0,
    until=1300.0,
    services=("web", "a b"),
)
RELEASE = "if that is right, 'ctemplate release' applies the newest answers now"
RIGHTS = "'ctemplate doctor' says which right the token lacks"
STOPPED = "does not run: /run/nginx.pid does not exist"


def old(seconds):
    return msgspec.structs.replace(SOURCE, data_age=seconds)


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        pytest.param({}, (), id="well"),
        pytest.param(
            {"groups": ()},
            ("no group runs: their files are locked by another process, or their locks cannot be made",),
            id="no groups",
        ),
        pytest.param(
            {"groups": (group(state="waiting", missing=("service(a)", "services()"), missing_count=4),)},
            ("group nginx: not rendered yet, waiting for service(a), services() and 2 more",),
            id="waiting",
        ),
        pytest.param(
            {"groups": (group(state="starting"),)},
            ("group nginx: not rendered yet, waiting for the first render",),
            id="starting",
        ),
        pytest.param(
            {"groups": (group(state="failed", error="t.j2:1: bad"),)}, ("group nginx: t.j2:1: bad",), id="failed"
        ),
        pytest.param(
            {"groups": (group(owes_reload=True),)},
            ("group nginx: the reload is pending: the program has not loaded the files",),
            id="owed",
        ),
        pytest.param(
            {"groups": (group(owes_reload=True, not_running=STOPPED),)},
            ("group nginx: the reload is pending: nginx does not run: /run/nginx.pid does not exist; start nginx",),
            id="owed, and nginx has stopped",
        ),
        pytest.param(
            {"groups": (group(not_running=STOPPED),)},
            ("group nginx: nginx does not run: /run/nginx.pid does not exist; start nginx",),
            id="nginx has stopped",
        ),
        pytest.param({"groups": (group(state="delayed"),)}, (), id="delayed: the old files are current enough"),
        pytest.param({"source": old(59.0)}, (), id="Consul is away for a moment"),
        pytest.param({"source": old(61.0)}, ("Consul: answers are up to 1m1s old",), id="Consul is away"),
        pytest.param(
            {"holds": (HOLD, HOLD)},
            (f"held: service(web); {RELEASE}",),
            id="held",
        ),
        pytest.param(
            {"holds": (msgspec.structs.replace(HOLD, cause="denied"),)},
            (f"held: service(web): the token may no longer read that; {RIGHTS}",),
            id="held without rights",
        ),
        pytest.param(
            {"unverified": tuple("gfedcba")},
            (f"empty first answer is not accepted: a, b, c, d, e and 2 more; {RIGHTS}; {RELEASE}",),
            id="unverified",
        ),
        pytest.param(
            {"groups": (group(state="failed", error="a\n    b"),)}, ("group nginx: a; b",), id="one line each"
        ),
    ],
)
def test_readiness(changes, problems):
    assert readiness_problems(report(**changes), max_age=60.0) == problems


def test_a_group_at_one_step_for_long_makes_no_progress():
    groups = (group(stuck_for=STUCK_AFTER), group(name="other", stuck_for=STUCK_AFTER + 1))
    assert stuck_groups(report(groups=groups)) == ("group other: at one step for 10m1s",)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9117", StatusAddress(host="127.0.0.1", port=9117)),
        (":9117", StatusAddress(host="127.0.0.1", port=9117)),
        ("0.0.0.0:9117", StatusAddress(host="0.0.0.0", port=9117)),
        ("[::1]:9117", StatusAddress(host="::1", port=9117)),
        ("localhost:1", StatusAddress(host="localhost", port=1)),
        ("unix:/run/c.sock", StatusAddress(socket="/run/c.sock")),
        ("unix:///run/c.sock", StatusAddress(socket="/run/c.sock")),
        ("/run/c.sock", StatusAddress(socket="/run/c.sock")),
    ],
)
def test_an_address_is_read_and_is_loopback_unless_told_otherwise(text, address):
    assert parse_status_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "localhost", ":", "a:0", "a:65536", "::1:80", "unix:c.sock", "http://a:1/x", "a:²"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ConfigError, match=r"^-status-addr: "):
        parse_status_address(text)


def test_a_report_reads_at_a_terminal():
    given = report(
        is_ready=False,
        problems=("held: service(web)",),
        source=msgspec.structs.replace(
            SOURCE,
            outages=(
                OutageStatus(cause="unreachable", subject="127.0.0.1:8500", since=1000.0, queries=4),
                OutageStatus(cause="denied", subject="Consul: queries denied", since=1010.0, queries=1),
            ),
        ),
        queries=(QueryCount(kind="service", state="answered", count=4),),
        groups=(
            group(
                left_out=(LeftOut(service="a\nb", instance="", reason="service 'a\\nb': bad", is_kept=False),),
                missing=("service(x)",),
                missing_count=3,
                not_running=STOPPED,
            ),
        ),
        holds=(HOLD, msgspec.structs.replace(HOLD, cause="denied", until=None, reason="vanished")),
        internal_errors=1,
    )
    assert list(report_lines(given)) == [
        "ctemplate 1.0, process 42, up 2m",
        "not ready: held: service(web)",
        "source: Consul; queries: 4 service answered; 3 connections",
        "outage: 127.0.0.1:8500: unreachable for 20s, 4 queries",
        "outage: Consul: queries denied for 10s, 1 query",
        "group nginx: applied, last change 20s ago, 2 old workers draining: /etc/nginx/nginx.conf",
        "    nginx does not run: /run/nginx.pid does not exist",
        "    web: +10.0.0.1:80",
        "    waiting for service(x) and 2 more",
        "    left out: service 'a\\nb': bad",
        "held: service(web): 3 held for 20s, until 00:21:40 UTC: vanished at once",
        "    if the loss is real: ctemplate release web",
        "held: service(web): 3 held for 20s, until its cause ends: vanished",
        "    'ctemplate doctor' says which right the token lacks",
        "internal errors: 1; please report them, see the log",
    ]


def test_nothing_in_a_report_forges_a_line_of_the_terminal():
    hostile = "x\x1b[2J\n\rready"
    given = report(
        problems=(hostile,),
        unverified=(hostile,),
        groups=(
            group(
                name=hostile,
                files=(hostile,),
                last_change=(hostile,),
                missing=(hostile,),
                missing_count=1,
                not_running=hostile,
            ),
        ),
    )
    assert all(line.isprintable() for line in report_lines(given))


def test_the_documented_schema_is_the_report_s():
    assert SCHEMA.read_bytes() == schema_of(Report)
