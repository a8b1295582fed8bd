"""After any order of operations, including a kill at any moment, files and program match the ledger."""

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

from budget import examples
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from model_program import Killer, Site, WatchedReload

from ctemplate.apply import Step
from ctemplate.core.errors import ApplyError
from ctemplate.core.model import Outcome

HARMLESS = frozenset({Step.SURVEYED, Step.STAGED, Step.CHECKED, Step.JOURNALED})

numbers = st.integers(0, 3)
traits = st.sampled_from([b"good", b"good", b"good", b"syntax", b"port", b"slow", b"deaf", b"fatal"])
contents = st.builds(lambda trait, number: b"%s %d\n" % (trait, number) * 50, trait=traits, number=numbers)
moments = st.none() | st.integers(0, 14)


class Apply(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.site = Site(self.folder, "a.conf", "b.conf")
        self.is_edited = False
        self.good = {None}

    @initialize()
    def first(self):
        self.render((b"good 0\n", b"good 0\n"), None)

    @rule(pair=st.tuples(contents, contents), moment=moments)
    def render(self, pair, moment):
        site, program = self.site, self.site.program
        owed, runs = site.owes_reload, (len(program.checks), program.reloads)
        killer = Killer(site, moment)
        outcome = None
        with contextlib.suppress(ApplyError):
            outcome = self.runner.run(site.apply(*pair, reload=WatchedReload(program, killer), observe=killer))
        self.good |= {content for content in pair if b"syntax" not in content}
        killer.strike()
        if killer.has_struck:
            site.recover()
            assert site.owes_reload is owed or killer.step not in HARMLESS
        elif outcome is Outcome.UNCHANGED:
            assert (len(program.checks), program.reloads) == runs
            assert site.live == pair
        elif outcome is not None:
            self.is_edited = False
            assert site.live == pair
            assert site.owes_reload is (outcome is Outcome.PENDING_START)

    @rule(moment=moments, again=moments)
    def die_and_recover_and_die_again(self, moment, again):
        pair = (b"good 8\n", b"good 9\n")
        self.good |= set(pair)
        for killer, run in (
            (Killer(self.site, moment), lambda killer: self.runner.run(self.site.apply(*pair, observe=killer))),
            (Killer(self.site, again), self.site.recover),
        ):
            run(killer)
            killer.strike()
        self.site.recover()

    @rule(which=st.integers(0, 1), number=numbers)
    def edit(self, which, number):
        content = b"good edit %d\n" % number
        self.good.add(content)
        self.site.paths[which].write_bytes(content)
        self.is_edited = True

    @rule()
    def stop_program(self):
        self.site.program.stop()

    @rule()
    def start_program(self):
        self.site.program.start()

    @invariant()
    def every_live_file_is_whole_and_was_accepted(self):
        assert set(self.site.live) <= self.good

    @invariant()
    def no_candidate_is_left(self):
        assert set(self.site.tree) <= {"a.conf", "b.conf"}

    @invariant()
    def the_program_runs_what_is_live_unless_a_reload_is_owed(self):
        program = self.site.program
        if program.is_up and not self.is_edited and not self.site.owes_reload:
            assert tuple(program.running.values()) == self.site.live

    @invariant()
    def what_the_program_would_refuse_is_never_live_while_it_runs(self):
        if not self.site.owes_reload:
            assert not any(b"port" in (content or b"") for content in self.site.live)

    def teardown(self):
        try:
            for path in self.site.paths:
                path.write_bytes(b"good end\n")
            self.site.program.stop()
            self.site.program.start()
            self.runner.run(self.site.apply(b"good last\n", b"good last\n"))
            assert self.site.live == (b"good last\n", b"good last\n")
            assert tuple(self.site.program.running.values()) == self.site.live
            assert not self.site.owes_reload
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)


Apply.TestCase.settings = settings(
    max_examples=examples(20), stateful_step_count=12, suppress_health_check=list(HealthCheck)
)
test_files_program_and_ledger_agree_whatever_happens = Apply.TestCase
