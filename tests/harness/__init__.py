"""Real programs for tests: Consul, nginx, ctemplate and backends, all on loopback, all ended with the test.

Imports none of ctemplate's code: it starts the program and observes it from outside.
"""

from harness.backends import HttpBackend, TcpBackend, http_get, tcp_read
from harness.consul import Consul
from harness.ctemplate import Ctemplate, once_that_says, run_ctemplate
from harness.nginx import Nginx
from harness.ports import free_port
from harness.processes import Process
from harness.programs import ROOT, program
from harness.waiting import wait_for

__all__ = [
    "ROOT",
    "Consul",
    "Ctemplate",
    "HttpBackend",
    "Nginx",
    "Process",
    "TcpBackend",
    "free_port",
    "http_get",
    "once_that_says",
    "program",
    "run_ctemplate",
    "tcp_read",
    "wait_for",
]
