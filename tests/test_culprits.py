"""The service whose data a program refuses is found with a few checks."""

import itertools
import sys
import time
from pathlib import Path

import msgspec
import pytest

from ctemplate.core.errors import CheckRefused
from ctemplate.core.model import Snapshot
from ctemplate.queries import ServiceQuery
from ctemplate.runtime.culprits import CulpritSearch
from ctemplate.runtime.named_lines import holding, listening, place
from ctemplate.runtime.outputs import FileSpan
from ctemplate.template import Owner, Renderer

sys.path.insert(0, str(Path(__file__).parent / "template"))
from rendering import answers, load, web  # services for the tests of templates

LINE = "\n{{ s.name }} {{ i.address }}:{{ i.port }}\n"
TEXT = "{% for s in services() %}{% for i in service(s.name) %}" + LINE + "{% endfor %}{% endfor %}"
FILE = Path("/etc/nginx/nginx.conf")
CHECKS = 24
FIXED = ["web", "shop"]


class Program:
    """Refuses texts that hold a word of some, telling the line or not, and counts how often it was asked."""

    def __init__(self, words, *, tells=False):
        self.words, self.tells, self.asked = words, tells, 0

    async def ask(self, rendering):
        self.asked += 1
        return self.judge(rendering.texts[0])

    def judge(self, text):
        for number, line in enumerate(text.split("\n"), 1):
            if any(word in line for word in self.words):
                where = f" in {FILE}:{number}" if self.tells else ""
                return CheckRefused(str(FILE), "no", output=(f"nginx: [emerg] no{where}",))
        return None


async def searched(program, new, *, old=FIXED):
    """Accept the old services, then search among the new; return the culprits and how often it took to ask."""
    renderer = Renderer([load(TEXT)], hold=lambda _: 60.0)
    known = answers(*(web(name=name) for name in old))
    renderer.render(Snapshot(known))
    renderer.accept()
    after = answers(*(web(name=name) for name in old), *(web(name=name, count=2) for name in new))
    snapshot = Snapshot(
        after
        | {query: answer for query, answer in known.items() if query in after and answer.value == after[query].value}
    )
    rendering = renderer.render(snapshot)
    error = program.judge(rendering.texts[0])
    found = await search(renderer, snapshot, program).culprits(error)
    return {refusal.owner for refusal in found}, program.asked


def search(renderer, snapshot, program, *, beside=None):
    return CulpritSearch(
        renderer=renderer,
        snapshot=snapshot,
        places=(),
        spans=lambda: (FileSpan(path=FILE, number=0),),
        ask=program.ask,
        ask_beside=(beside or program).ask,
        budget=CHECKS,
        named_budget=CHECKS,
    )


@pytest.mark.parametrize("count", [1, 2, 63, 500])
async def test_one_culprit_among_many_takes_a_few_questions(count):
    new = [f"n{number:03}" for number in range(count)]
    found, asked = await searched(Program({new[count // 3] + " "}), new)
    assert found == {Owner(new[count // 3])}
    assert asked <= 2 * count.bit_length() + 4, "two of them about the service's two instances"


async def test_words_that_name_a_line_lead_to_who_printed_it_at_once():
    new = [f"n{number:03}" for number in range(500)]
    found, asked = await searched(Program({"n100 10.0.0.2:"}, tells=True), new)
    assert (found, asked) == ({Owner("n100", "node1", "n100-1")}, 1)


@pytest.mark.parametrize("tells", [True, False])
async def test_one_instance_is_the_culprit_while_the_others_of_its_service_pass(tells):
    new = [f"n{number:03}" for number in range(100)]
    found, asked = await searched(Program({"n050 10.0.0.2:"}, tells=tells), new)
    assert found == {Owner("n050", "node1", "n050-1")}
    assert asked <= CHECKS


async def test_several_culprits_are_found_one_after_another():
    new = [f"n{number:03}" for number in range(60)]
    bad = {"n003 ", "n030 ", "n055 "}
    by_words, asked = await searched(Program(bad, tells=True), new)
    assert {owner.service for owner in by_words} == {"n003", "n030", "n055"}
    assert asked <= 7
    halved, asked = await searched(Program({"n003 ", "n055 "}), new)
    assert {owner.service for owner in halved} == {"n003", "n055"}
    assert asked <= CHECKS + 3


@pytest.mark.parametrize("edit", ["", "# an edit\n"], ids=["reloaded", "edited"])
async def test_an_instance_that_is_left_out_stays_the_culprit_for_edited_templates(edit):
    program = Program({"web 10.0.0.2:"}, tells=True)
    before = Renderer([load(TEXT)], hold=lambda _: 60.0)
    snapshot = Snapshot(answers(web(count=2), web(name="shop")))
    error = program.judge(before.render(snapshot).texts[0])
    before.refusals.add(await search(before, snapshot, program).culprits(error))
    assert program.judge(before.render(snapshot).texts[0]) is None
    before.accept()
    edited = Renderer([load(edit + TEXT)], hold=lambda _: 60.0, before=before)
    error = program.judge(edited.render(snapshot).texts[0])
    found = await search(edited, snapshot, program).culprits(error)
    assert [refusal.owner for refusal in found] == [Owner("web", "node1", "web-1")]


class LoneProgram(Program):
    """Accepts such a word as long as no service but its own is there, as nginx does with a lone server's name."""

    def judge(self, text):
        return super().judge(text) if len(text.split()) > 2 else None


@pytest.mark.parametrize("new", [["web"], [f"n{number:03}" for number in range(60)]], ids=len)
async def test_a_live_service_that_the_program_accepts_only_alone_is_left_out_with_its_last_good_data(new):
    program, beside = LoneProgram({"long "}), Program({"long "})
    renderer = Renderer([load(TEXT)], hold=lambda _: 60.0)
    live = answers(web(name="long"))
    renderer.render(Snapshot(live))
    renderer.accept()
    for count in (1, 2):
        after = answers(web(name="long"), *(web(name=name, count=count) for name in new))
        snapshot = Snapshot(live | after | {query: live[query] for query in live if query.argument == "long"})
        rendering = renderer.render(snapshot)
        if (error := program.judge(rendering.texts[0])) is not None:
            assert count == 1, "it is left out as long as its data are the same"
            found = await search(renderer, snapshot, program, beside=beside).culprits(error)
            assert [refusal.owner for refusal in found] == [Owner("long")]
            assert program.asked + beside.asked <= CHECKS
            renderer.refusals.add(found)
            rendering = renderer.render(snapshot)
        assert rendering.kept == ()
        assert program.judge(rendering.texts[0]) is None
        renderer.accept()


NAMED = """{% for i in service("web") %}
a {{ i.address }}
{% endfor %}
{% for i in service("bad") %}
b {{ i.address }}
{% endfor %}
"""


async def test_refused_data_of_a_service_that_the_template_names_are_no_last_good_data():
    program = Program({"b "}, tells=True)
    renderer = Renderer([load(NAMED)], hold=lambda _: 60.0)
    renderer.render(Snapshot(answers(web(name="bad", count=0), web(count=1))))
    renderer.accept()
    bad = answers(web(name="bad"))
    for number in (1, 2, 3):
        snapshot = Snapshot(answers(web(count=number)) | bad)
        rendering = renderer.render(snapshot)
        if (error := program.judge(rendering.texts[0])) is not None:
            assert number == 1, "it is left out as long as its data are the same"
            found = await search(renderer, snapshot, program).culprits(error)
            assert [refusal.owner for refusal in found] == [Owner("bad")]
            renderer.refusals.add(found)
            rendering = renderer.render(snapshot)
        assert program.judge(rendering.texts[0]) is None
        renderer.accept()
        assert [rejection.service for rejection in rendering.quarantined] == ["bad"]
        assert rendering.kept == ()


async def test_a_refusal_that_no_service_causes_has_no_culprit():
    found, asked = await searched(Program({""}), ["n1", "n2"])
    assert (found, asked) == (frozenset(), 1)


async def test_a_search_among_many_culprits_ends():
    new = [f"n{number:03}" for number in range(300)]
    found, asked = await searched(Program({"7 "}), new)
    assert {owner.service for owner in found} >= {name for name in new if name.endswith("7")}
    assert asked <= CHECKS + 3


async def accepted(renderer, snapshot, program):
    """Render as soon as a retry is due, and leave out what the program refuses; return the text and the questions."""
    renderer.refusals.retry_due(float("inf"))
    asked = program.asked
    rendering = renderer.render(snapshot)
    if (error := program.judge(rendering.texts[0])) is not None:
        renderer.refusals.add(await search(renderer, snapshot, program).culprits(error))
        rendering = renderer.render(snapshot)
    assert program.judge(rendering.texts[0]) is None
    renderer.accept()
    return rendering.texts[0], program.asked - asked


def shown(text):
    return {line.split()[0] for line in text.splitlines() if line.strip()}


def among(new):
    """Return a renderer whose files show the fixed services, and a snapshot with new ones and new data of the fixed."""
    renderer = Renderer([load(TEXT)], hold=lambda _: 60.0)
    renderer.render(Snapshot(answers(*(web(name=name) for name in FIXED))))
    renderer.accept()
    return renderer, Snapshot(answers(*(web(name=name, count=2) for name in FIXED), *(web(name=name) for name in new)))


@pytest.mark.parametrize("tells", [True, False], ids=["names-lines", "names-none"])
@pytest.mark.parametrize(("count", "every"), [(60, 3), (120, 4)])
async def test_services_that_a_search_among_many_did_not_reach_are_judged_later(tells, count, every):
    new = [f"n{number:03}" for number in range(count)]
    bad = set(new[::every])
    renderer, snapshot = among(new)
    program = Program({name + " " for name in bad}, tells=tells)
    for _ in range(count):
        text, asked = await accepted(renderer, snapshot, program)
        assert asked <= 2 * CHECKS + 3, "each turn is short, so that other changes are applied soon"
        assert text.count("web ") == text.count("shop ") == 2, "new data of live services are kept"
        if shown(text) == {*new, *FIXED} - bad:
            break
    assert shown(text) == {*new, *FIXED} - bad


@pytest.mark.parametrize("tells", [True, False], ids=["names-lines", "names-none"])
async def test_a_refused_service_whose_cause_is_gone_returns_though_others_stay_refused(tells):
    new = [f"n{number:03}" for number in range(6)]
    renderer, snapshot = among(new)
    program = Program({name + " " for name in new}, tells=tells)
    text, _ = await accepted(renderer, snapshot, program)
    assert shown(text) == set(FIXED)
    program.words -= {"n005 "}
    for _ in range(2):
        text, _ = await accepted(renderer, snapshot, program)
    assert shown(text) == {*FIXED, "n005"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(f"x in {FILE}:7", 7, id="plain"),
        pytest.param(f"x in {FILE}:7 (t.j2:3)", 7, id="with-an-origin"),
        pytest.param(f"[ALERT] (7) : config : [{FILE}:15] : 'server web/x' : unknown", 15, id="in-brackets"),
        pytest.param("x in /etc/nginx/../nginx/nginx.conf:8", 8, id="another-spelling"),
        pytest.param("x in /etc/nginx/other.conf:9", None, id="another-file"),
        pytest.param(f"x in {FILE}", None, id="no-line"),
    ],
)
def test_a_place_is_found_in_words(text, line):
    assert place(text, FILE) == line


def test_lines_that_listen_on_a_port_are_found():
    lines = "listen 80;", "  listen 127.0.0.1:5432;", "listen [::]:5432 udp;", "listen 15432;", "return 5432;"
    text = "\n".join((*lines, "server { listen 5432; }"))
    assert listening(text, "5432") == (2, 3, 6)


def test_lines_that_hold_a_quoted_word_are_found():
    assert holding("server_name web.x;\nserver_name a..b.x;\n", "a..b.x") == (2,)


def made_live(renderer, live):
    """Render what is live, and record that the program accepts it."""
    snapshot = Snapshot(live)
    renderer.render(snapshot)
    renderer.accept()
    return snapshot


async def rendered_without_culprits(renderer, snapshot, program):
    """Render, and leave out what the program refuses; return the rendering."""
    rendering = renderer.render(snapshot)
    if (error := program.judge(rendering.texts[0])) is not None:
        renderer.refusals.add(await search(renderer, snapshot, program).culprits(error))
        rendering = renderer.render(snapshot)
    assert program.judge(rendering.texts[0]) is None
    return rendering


META = TEXT.replace("{{ i.port }}", "{{ i.port }}{{ i.meta.note }}")
UNPRINTABLE, REFUSED = {"note": "a;b"}, {"note": "bad"}


@pytest.mark.parametrize(
    "bad", [{0: UNPRINTABLE, 1: REFUSED}, {0: REFUSED, 1: UNPRINTABLE}], ids=["print-first", "refused-first"]
)
@pytest.mark.parametrize("steps", [[(0, 1)], [(0,), (0, 1)], [(1,), (0, 1)]], ids=str)
async def test_a_live_service_keeps_its_last_good_data_where_its_instances_fail_in_different_ways(bad, steps):
    program = Program({"bad"}, tells=True)
    renderer = Renderer([load(META)], hold=lambda _: 60.0)

    def at(count, failing=()):
        name, tags, instances = web(count=2, meta={"note": "ok"})
        changed = tuple(
            msgspec.structs.replace(one, meta=bad[n]) if n in failing else one for n, one in enumerate(instances)
        )
        return answers((name, tags, changed), web(name="shop", count=count, meta={"note": "ok"}))

    made_live(renderer, at(1))
    for count, failing in enumerate(steps, 2):
        snapshot = Snapshot(at(count, failing))
        rendering = await rendered_without_culprits(renderer, snapshot, program)
        renderer.accept()
        assert "web 10." in rendering.texts[0], failing
        assert rendering.texts[0].count("shop") == count
    assert [rejection.service for rejection in rendering.kept] == ["web"]
    live = 2 if len(steps) == 1 else 1  # the last good data of an earlier step are without the first instance to fail
    again = renderer.render(
        Snapshot(at(9, (0, 1)) | {ServiceQuery(name="web"): snapshot.get(ServiceQuery(name="web"))})
    )
    for text, shops in ((rendering.texts[0], len(steps) + 1), (again.texts[0], 9)):
        assert (text.count("web 10."), text.count("shop")) == (live, shops)
    assert renderer.render(Snapshot(at(9))).kept == ()


async def test_the_time_of_last_good_data_begins_when_the_last_instance_fails():
    program = Program({"bad"}, tells=True)
    renderer = Renderer([load(META)], hold=lambda _: 60.0)
    ok, bad = web(count=2, meta={"note": "ok"}), web(count=2, meta=REFUSED)
    one_bad = ("web", ok[1], (ok[2][0], bad[2][1]))
    made_live(renderer, answers(ok))
    rendering = await rendered_without_culprits(renderer, Snapshot(answers(one_bad)), program)
    assert [rejection.instance for rejection in rendering.quarantined] == ["web-1"]
    renderer.accept()
    later = time.monotonic() + 61.0
    renderer.render(Snapshot(answers(one_bad, web(name="shop", meta={"note": "ok"}))), now=later)
    unprintable = ("web", ok[1], (msgspec.structs.replace(ok[2][0], meta=UNPRINTABLE), bad[2][1]))
    renderer.refusals.add([renderer.refusals.trial(Owner("web", "node1", "web-1"), Snapshot(answers(unprintable)))])
    rendering = renderer.render(Snapshot(answers(unprintable)), now=later)
    assert [rejection.service for rejection in rendering.kept] == ["web"]


def test_a_trial_with_other_data_forgets_no_refusal():
    renderer = Renderer([load(TEXT)], hold=lambda _: 60.0)
    made_live(renderer, answers(web()))
    snapshot = Snapshot(answers(web(), web(name="bad")))
    renderer.refusals.add([renderer.refusals.trial(Owner("bad"), snapshot)])
    assert "bad" in renderer.trial(Snapshot(answers(web(), web(name="bad", count=2))), (), (), {}).texts[0]
    assert "bad" not in renderer.render(snapshot).texts[0]


BLOCKS = """{% for s in services() %}
{{ s.name }} {
{% for i in service(s.name) %}
{{ i.address }};
{% endfor %}
}
{% endfor %}
"""


class EmptyBlocks(Program):
    """Refuses a block that holds nothing, at the line that closes it, as nginx does with an upstream."""

    def judge(self, text):
        lines = text.split("\n")
        for number, (before, line) in enumerate(itertools.pairwise(lines), 2):
            if line == "}" and before.endswith("{"):
                words = f"nginx: [emerg] no servers are inside upstream in {FILE}:{number}"
                return CheckRefused(str(FILE), "no", output=(words,))
        return None


@pytest.mark.parametrize(
    ("full", "empty", "is_at_fault"), [(1, 1, False), (2, 2, False), (1, 4, False), (5, 1, False), (0, 2, True)]
)
@pytest.mark.parametrize("first", ["a", "z"])
async def test_a_first_version_is_not_at_fault_at_a_line_without_data_that_some_services_pass(
    full, empty, is_at_fault, first
):
    renderer, program = Renderer([load(BLOCKS)]), EmptyBlocks(set())
    empties = {f"{first}{number}" for number in range(empty)}
    services = [web(name=f"full{number}") for number in range(full)] + [web(name=name, count=0) for name in empties]
    snapshot = Snapshot(answers(*services))
    error = program.judge(renderer.render(snapshot).texts[0])
    found = await search(renderer, snapshot, program).culprits(error)
    assert {refusal.owner.service for refusal in found} == (set() if is_at_fault else empties)


@pytest.mark.parametrize(("empty", "is_at_fault"), [(1, False), (2, True)])
async def test_an_edit_is_at_fault_where_half_of_the_services_fail_at_a_line_without_data(empty, is_at_fault):
    before, program = Renderer([load("# nothing")]), EmptyBlocks(set())
    before.render(Snapshot({}))
    before.accept()
    renderer = Renderer([load(BLOCKS)], before=before)
    services = [web(name=f"full{number}") for number in range(2)]
    snapshot = Snapshot(answers(*services, *(web(name=f"a{number}", count=0) for number in range(empty))))
    error = program.judge(renderer.render(snapshot).texts[0])
    found = await search(renderer, snapshot, program).culprits(error)
    assert [refusal.owner for refusal in found] == ([] if is_at_fault else [Owner("a0")])
