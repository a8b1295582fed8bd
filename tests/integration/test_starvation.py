"""Nothing starves the event loop: during an unanswered request to Consul, edits and signals take effect."""

import signal
import time

import pytest
from harness import Ctemplate
from harness.cluster import SIZE, Cluster

from ctemplate.guard.rules.holding import CONFIRM_GRACE

pytestmark = pytest.mark.by_exec

WEB = '{% for i in service("web") %}{{ i.port }} {% endfor %}'
GHOST = '{% for i in service("ghost") %}{{ i.port }}{% else %}none{% endfor %}'
PATIENT = {"performance": {"raft_multiplier": 10}}  # a follower goes on answering from what it has for ten seconds


@pytest.fixture
def cluster(tmp_path, programs):
    cluster = Cluster(tmp_path, config=PATIENT)
    programs.callback(cluster.kill)
    return cluster.start()


def test_a_frozen_leader_leaves_a_first_answer_unconfirmed(tmp_path, programs, cluster):
    """A new service's first answer is empty, and nobody confirms that for longer than the guard's grace."""
    leader = cluster.leader()
    follower, other = sorted(set(range(SIZE)) - {leader})
    cluster.servers[leader].catalog("web", "a", 8001)
    template, web, ghost = tmp_path / "web.j2", tmp_path / "web", tmp_path / "ghost"
    template.write_text(WEB)
    (tmp_path / "ghost.j2").write_text("nothing yet")
    args = ("-consul-addr", cluster.servers[follower].address, "-template", f"{template}:{web}")
    daemon = Ctemplate(tmp_path, *args, "-template", f"{tmp_path}/ghost.j2:{ghost}:true")
    programs.callback(daemon.kill)
    daemon.start()
    daemon.wait_for(lambda: web.exists() and web.read_text() == "8001 ", 60, "what the follower knows")
    with cluster.paused([leader, other]):
        (tmp_path / "ghost.j2").write_text(GHOST)
        daemon.wait_for_log("reloaded", 30)
        time.sleep(2 * CONFIRM_GRACE)  # the trouble lasts so long; nothing is waited for
        template.write_text(f"edited {WEB}")
        daemon.wait_for(lambda: web.read_text() == "edited 8001 ", 30, "the edit to be taken")
        assert ghost.read_text() == "nothing yet"
    daemon.wait_for(lambda: ghost.read_text() == "none", 120, "the confirmation")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(30) == 0


def test_sigterm_is_obeyed_while_a_first_answer_is_unconfirmed(tmp_path, programs, cluster):
    leader = cluster.leader()
    follower, other = sorted(set(range(SIZE)) - {leader})
    template, ghost = tmp_path / "ghost.j2", tmp_path / "ghost"
    template.write_text("nothing yet")
    args = ("-consul-addr", cluster.servers[follower].address, "-template", f"{template}:{ghost}")
    daemon = Ctemplate(tmp_path, *args)
    programs.callback(daemon.kill)
    daemon.start()
    daemon.wait_for(ghost.exists, 60, "the first text")
    with cluster.paused([leader, other]):
        template.write_text(GHOST)
        daemon.wait_for_log("reloaded", 30)
        time.sleep(2 * CONFIRM_GRACE)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
