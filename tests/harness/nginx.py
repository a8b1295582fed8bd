"""A real nginx in its own folder, with its pid file, logs and temporary files."""

import re
import signal
import subprocess
from pathlib import Path
from typing import Self

from harness.processes import Process
from harness.programs import program
from harness.waiting import PATIENCE, tail

WORKERS = 2
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx:
    """A master in the foreground with the configuration file `conf`, which the test or ctemplate writes.

    The configuration has to hold `main` at its top and `http` at the top of its http block (or the same directives in
    its own words): they keep nginx's files inside `prefix`, so that it also runs without root. `error_log` is part of
    `main`. `arguments` name this nginx in commands: `[*nginx.arguments, "-s", "reload"]`.
    """

    def __init__(self, folder: Path, *, name: str = "nginx"):
        self.prefix = folder / name
        self.prefix.mkdir(parents=True)
        self.conf = self.prefix / "nginx.conf"
        self.pid_file = self.prefix / "nginx.pid"
        self.error_log_file = self.prefix / "error.log"
        self.program = program("nginx")
        self.stream_module = program("stream-module")
        self.arguments = [self.program, "-p", f"{self.prefix}/", "-c", str(self.conf), "-e", str(self.error_log_file)]
        # SIGTERM also ends the workers; a master that is killed leaves them behind
        self.process = Process(name, [*self.arguments, "-g", "daemon off;"], folder, death_signal="TERM")

    @property
    def load_module(self) -> str:
        """The directive that loads the stream module; empty when it is built in."""
        return f"load_module {self.stream_module};\n" if self.stream_module else ""

    @property
    def main(self) -> str:
        """Directives for the top of the configuration."""
        return (
            f"{self.load_module}"
            f"pid {self.pid_file};\nerror_log {self.error_log_file} notice;\n"
            f"worker_processes {WORKERS};\nevents {{ worker_connections 256; }}\n"
        )

    @property
    def http(self) -> str:
        """Directives for the top of the http block."""
        lines = [f"{name}_temp_path {self.prefix}/{name}_temp;" for name in _TEMPORARY]
        return "\n".join([*lines, "access_log off;", ""])

    @property
    def reload_command(self) -> str:
        return " ".join([*self.arguments, "-s", "reload"])

    @property
    def check_command(self) -> str:
        return " ".join([*self.arguments, "-t"])

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run `nginx -t` on the live configuration; the words are in `stderr`."""
        return subprocess.run([*self.arguments, "-t"], capture_output=True, text=True, check=False, timeout=PATIENCE)

    def start(self) -> Self:
        """Start and wait until all workers run."""
        self.process.start()
        self._wait_for(lambda: len(self.workers()) >= self._wanted(), 10, "nginx workers")
        return self

    def _wanted(self) -> int:
        """Return how many workers the configuration asks for."""
        found = re.search(r"^worker_processes (\d+);", self.conf.read_text(errors="replace"), re.MULTILINE)
        return int(found[1]) if found else 1

    def stop(self) -> None:
        """End master and workers at once (SIGTERM)."""
        self.process.stop()

    def kill(self) -> None:
        """End master and workers with SIGKILL."""
        self.process.kill()

    def reload(self, timeout: float = PATIENCE, *, exactly: bool = False) -> None:
        """Send HUP and wait until all current workers are new ones; `exactly` so long where these may not come."""
        before, wanted = set(self.workers()), self._wanted()
        self.process.signal(signal.SIGHUP)

        def are_new() -> bool:
            now = self.workers()
            return len(now) >= wanted and not before & set(now)

        self._wait_for(are_new, timeout, "new nginx workers", exactly=exactly)

    @property
    def master_pid(self) -> int:
        return self.process.pid

    def workers(self) -> tuple[int, ...]:
        """Return the sorted pids of the workers that accept connections."""
        return self._children("nginx: worker process")

    def settle(self) -> None:
        """Wait until only one generation of workers accepts connections.

        While a reload is under way both do for a tenth of a second: a test that has seen an answer of the new
        configuration may still get one of the old.
        """
        self._wait_for(lambda: len(self.workers()) <= WORKERS, PATIENCE, "end of the workers before the reload")

    def old_workers(self) -> tuple[int, ...]:
        """Return the sorted pids of the workers that only finish their last connections."""
        return self._children("nginx: worker process is shutting down")

    def _children(self, title: str) -> tuple[int, ...]:
        return tuple(pid for pid in sorted(_children(self.master_pid)) if _title(pid) == title)

    def error_log(self) -> str:
        return self.error_log_file.read_text(errors="replace") if self.error_log_file.exists() else ""

    def reloads(self) -> int:
        """Return how many reconfigurations the master began, refused ones included."""
        return len(re.findall(r"#\d+: reconfiguring$", self.error_log(), re.MULTILINE))

    def _wait_for(self, condition, timeout: float, what: str, *, exactly: bool = False) -> None:
        try:
            self.process.wait_for(condition, timeout, what, exactly=exactly)
        except AssertionError as fault:
            fault.add_note(f"error log:\n{tail(self.error_log())}")
            raise


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().strip("\0 ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
