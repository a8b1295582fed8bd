"""Many keys asked as one folder: the chosen folders, and the same data for templates as with separate requests."""

from collections.abc import Iterable

import pytest
from budget import examples
from hypothesis import given, settings, strategies as st

from ctemplate.core.model import Answer
from ctemplate.queries import KeyEntry, KeyQuery, ServicesQuery, TreeQuery
from ctemplate.sources.consul.watching.covers import LEAST_COVERED, MOST_ENTRIES, Covers


def keys(folder, count=LEAST_COVERED, **scope):
    return {KeyQuery(path=f"{folder}k{number}", **scope) for number in range(count)}


def tree(prefix, **scope):
    return TreeQuery(prefix=prefix, **scope)


def sites(count):
    return {KeyQuery(path=f"sites/s{number}/{part}") for number in range(count) for part in ("host", "port")}


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (set(), set()),
        (keys("a/"), {tree("a/")}),
        (keys("a/", LEAST_COVERED - 1), keys("a/", LEAST_COVERED - 1)),
        (keys(""), keys("")),
        (keys("a/") | keys("b/"), {tree("a/"), tree("b/")}),
        (keys("a/b/"), {tree("a/b/")}),
        (keys("a/b/") | {KeyQuery(path="a/x")}, {tree("a/b/"), KeyQuery(path="a/x")}),
        (sites(LEAST_COVERED), {tree("sites/")}),
        (keys("a/", dc="east") | keys("a/"), {tree("a/", dc="east"), tree("a/")}),
        (keys("a/", 4, dc="east") | keys("a/", 4), keys("a/", 4, dc="east") | keys("a/", 4)),
        (keys("a/", 2) | {tree("a/")}, {tree("a/")}),
        (keys("a/b/", 2) | {tree("a/")}, {tree("a/")}),
        (keys("a/", 2) | {tree("a/b/")}, keys("a/", 2) | {tree("a/b/")}),
        (keys("a/", 2) | {tree("")}, keys("a/", 2) | {tree("")}),
        (keys("a/") | {ServicesQuery()}, {tree("a/"), ServicesQuery()}),
    ],
)
def test_folders_with_many_keys_are_asked_in_their_place(wanted, asked):
    assert Covers().want(wanted) == asked


def test_five_thousand_keys_are_one_question():
    assert Covers().want(keys("config/", 5000)) == {tree("config/")}


def answered(query, values, **fields):
    """Return an answer with these entries, by path."""
    value = tuple(KeyEntry(path=path, data=data) for path, data in sorted(values.items()))
    return Answer(query=query, value=value, index=7, **fields)


def told(covers, answer):
    return {each.query.path: [entry.data for entry in each.value] for each in covers.answers(answer)}


WANTED = keys("a/", 8)
FULL = {f"a/k{number}": b"v" for number in range(8)}


def test_a_folder_tells_of_each_key_that_is_in_it_and_then_of_changes_alone():
    covers = Covers()
    covers.want(WANTED)
    assert told(covers, answered(tree("a/"), FULL | {"a/other": b"x"})) == {path: [b"v"] for path in FULL}
    assert told(covers, answered(tree("a/"), FULL | {"a/k3": b"new", "a/more": b"x"})) == {"a/k3": [b"new"]}
    assert told(covers, answered(tree("a/"), FULL | {"a/k3": b""})) == {"a/k3": [b""]}


def test_a_key_that_a_folder_lacks_is_asked_once_by_itself():
    covers = Covers()
    covers.want(WANTED)
    missing = KeyQuery(path="a/k3")
    without = {path: data for path, data in FULL.items() if path != missing.path}
    assert missing.path not in told(covers, answered(tree("a/"), without))
    assert covers.asked() == {tree("a/"), missing}
    assert told(covers, answered(missing, {})) == {missing.path: []}
    assert covers.asked() == {tree("a/")}
    assert covers.known(missing).value == ()
    assert told(covers, answered(tree("a/"), FULL)) == {missing.path: [b"v"]}
    assert told(covers, answered(tree("a/"), without)) == {}
    assert covers.asked() == {tree("a/"), missing}


def test_a_key_that_only_a_question_of_its_own_shows_keeps_it():
    covers = Covers()
    covers.want(WANTED)
    list(covers.answers(answered(tree("a/"), {})))
    hidden = KeyQuery(path="a/k3")
    assert told(covers, answered(hidden, {hidden.path: b"v"})) == {hidden.path: [b"v"]}
    assert hidden in covers.asked()


def test_an_older_answer_of_a_key_does_not_replace_its_folders():
    covers = Covers()
    covers.want(WANTED)
    list(covers.answers(answered(tree("a/"), {})))
    list(covers.answers(answered(tree("a/"), FULL)))
    assert told(covers, answered(KeyQuery(path="a/k3"), {})) == {}


def test_a_folder_that_is_refused_is_given_up_with_those_around_it():
    covers = Covers()
    wanted = keys("a/b/")
    covers.want(wanted)
    covers.give_up(tree("a/b/"))
    assert covers.has_changed
    assert covers.asked() == wanted
    assert covers.want(wanted | {KeyQuery(path="a/c")}) == wanted | {KeyQuery(path="a/c")}


def test_a_folder_that_is_asked_for_itself_and_refused_leaves_its_keys_alone():
    covers = Covers()
    covers.want(keys("a/", 2) | {tree("a/")})
    covers.give_up(tree("a/"))
    assert covers.asked() == keys("a/", 2) | {tree("a/")}


def test_a_folder_with_far_more_than_is_wanted_is_given_up():
    covers = Covers()
    covers.want(WANTED)
    many = FULL | {f"a/other{number}": b"x" for number in range(MOST_ENTRIES * len(WANTED))}
    assert told(covers, answered(tree("a/"), many)) == {path: [b"v"] for path in FULL}
    assert covers.asked() == WANTED


def test_a_key_that_is_wanted_later_is_known_at_once():
    covers = Covers()
    covers.want(WANTED)
    list(covers.answers(answered(tree("a/"), FULL | {"a/late": b"x"})))
    late = KeyQuery(path="a/late")
    assert covers.want(WANTED | {late}) == {tree("a/")}
    assert [entry.data for entry in covers.known(late).value] == [b"x"]


def test_what_is_wanted_no_more_is_forgotten():
    covers = Covers()
    covers.want(WANTED)
    list(covers.answers(answered(tree("a/"), FULL)))
    covers.want(set())
    assert told(covers, answered(tree("a/"), FULL)) == {}
    assert covers.want(WANTED) == {tree("a/")}
    assert covers.known(KeyQuery(path="a/k1")) is None


PATHS = [f"a/k{number}" for number in range(10)]
STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(PATHS), st.sampled_from([b"", b"1", b"2"])),
    st.tuples(st.just("delete"), st.sampled_from(PATHS)),
    st.tuples(st.just("deny"), st.sampled_from(PATHS)),
    st.tuples(st.just("allow"), st.sampled_from(PATHS)),
    st.tuples(st.just("refuse")),
    st.tuples(st.just("ask"), st.integers(0, 99)),
    st.tuples(st.just("come"), st.integers(0, 99)),
)


class Store:
    """A KV store with rights, and what a catalog heard of it through covers, in any order of answers."""

    def __init__(self):
        self.values: dict[str, bytes] = {}
        self.denied: set[str] = set()
        self.is_refused = False
        self.heard: dict[str, bytes | None] = {}
        self.covers = Covers()
        self.covers.want({KeyQuery(path=path) for path in PATHS})
        self.under_way: list[tuple[object, dict[str, bytes] | None]] = []

    def visible(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: self.values[path] for path in paths if path in self.values and path not in self.denied}

    def ask(self, query):
        """Have a question answered now, whenever the answer comes; None for one that is refused."""
        if isinstance(query, TreeQuery):
            found = None if self.is_refused else self.visible(PATHS)
        else:
            found = None if query.path in self.denied else self.visible([query.path])
        self.under_way = [each for each in self.under_way if each[0] != query]  # one question of a kind at a time
        self.under_way.append((query, found))

    def come(self, place):
        if not self.under_way:
            return
        query, found = self.under_way.pop(place % len(self.under_way))
        if query not in self.covers.asked():
            return
        if found is None:
            self.covers.give_up(query)
            return
        for answer in self.covers.answers(answered(query, found)):
            self.heard[answer.query.path] = answer.value[0].data if answer.value else None

    def do(self, step, *arguments):
        match step, arguments:
            case "put", [path, value]:
                self.values[path] = value
            case "delete", [path]:
                self.values.pop(path, None)
            case "deny", [path]:
                self.denied.add(path)
            case "allow", [path]:
                self.denied.discard(path)
            case "refuse", _:
                self.is_refused = not self.is_refused
            case "ask", [place]:
                asked = sorted(self.covers.asked(), key=str)
                self.ask(asked[place % len(asked)])
            case "come", [place]:
                self.come(place)

    def settle(self):
        """Have everything asked and answered until nothing new is asked."""
        self.under_way.clear()
        for _ in range(4):
            for query in sorted(self.covers.asked(), key=str):
                self.ask(query)
            while self.under_way:
                self.come(0)


@settings(max_examples=examples(100))
@given(st.lists(STEP, max_size=40))
def test_in_the_end_each_key_reads_as_if_it_had_been_asked_by_itself(steps):
    store = Store()
    for step in steps:
        store.do(*step)
    before = dict(store.heard)
    store.settle()
    for path in PATHS:
        if path in store.denied:
            assert store.heard.get(path) == before.get(path), "what may not be read stays as it was"
        else:
            assert store.heard[path] == store.values.get(path)
