"""A ctemplate that writes its data about all services to one file, so that tests can read its state."""

import time

from harness.ctemplate import run_ctemplate
from harness.waiting import wait_for

TEMPLATE = """
{% for svc in services() if svc.name != "consul" %}
{{ svc.name }}:{% for i in service(svc.name) %} {{ i.address }}:{{ i.port }}{% endfor %}

{% endfor %}
"""
CONFIG = """
[wait]
min = "20ms"
max = "200ms"
[consul]
address = "127.0.0.1:{port}"
wait = "5s"
retry = {{ backoff = "100ms", max_backoff = "1s" }}
{more}
[[template]]
source = "out.j2"
destination = "out"
escape = "none"
"""
LIMIT = 60.0


class Scene:
    """A ctemplate that renders every service to one line, beside a Consul."""

    def __init__(self, folder, start, port):
        self.folder, self._start, self.port = folder, start, port
        self.out = folder / "out"
        self.config = folder / "c.toml"
        self.process = None
        self._template = TEMPLATE

    def template(self, text):
        """Render another template than that of all services."""
        self._template = text
        return self

    def start(self, more="", *args):
        self.folder.joinpath("out.j2").write_text(self._template)
        self.folder.joinpath("c.toml").write_text(CONFIG.format(port=self.port, more=more))
        self.process = self._start("-config", self.folder / "c.toml", "-log-level", "debug", *args)
        return self

    def services(self):
        text = self.out.read_text() if self.out.exists() else ""
        return {line.split(":")[0]: line.split()[1:] for line in text.splitlines() if line}

    def wait(self, expected, limit=LIMIT):
        self.process.wait_for(lambda: self.services() == expected, limit, f"{expected} in the file")

    def told(self, text):
        self.process.wait_for_log(text, LIMIT)

    def held(self, *names):
        """Wait until the warnings name all of these as held; they may come one by one."""
        self.process.wait_for(
            lambda: all(any(name in line for line in self.warnings()) for name in names), LIMIT, f"{names} held"
        )

    def warnings(self):
        return [line for line in self.process.log().splitlines() if " WARNING held" in line]

    def release(self, *args):
        return self.run("release", *args)

    def run(self, verb, *args, config=True):
        """Run ctemplate with this configuration to its end, beside the one that was started."""
        return run_ctemplate(verb, *(["-config", self.config] if config else []), *args, cwd=self.folder)

    def settles(self, expected, seconds=2.0):
        """The file comes to say this, and then nothing else for a while."""

        def is_settled():
            until = time.monotonic() + seconds
            while self.services() == expected and time.monotonic() < until:
                time.sleep(0.02)
            return self.services() == expected

        self.process.wait_for(is_settled, LIMIT, f"{expected} to stay in the file")

    def stays(self, expected, seconds=2.0):
        """The file says nothing else for a while."""
        try:
            found = wait_for(
                lambda: self.services() != expected and str(self.services()), seconds, "another content", exactly=True
            )
        except AssertionError:
            return
        raise AssertionError(f"{found} in the file, not {expected}\n{self.process.log()}")
