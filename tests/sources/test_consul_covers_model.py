"""Keys and folders that come and go, and wishes that change: what covers tell, against a store with versions."""

from budget import examples
from hypothesis import example, given, settings, strategies as st

from ctemplate.core.model import Answer
from ctemplate.queries import KeyEntry, KeyQuery, TreeQuery
from ctemplate.sources.consul.watching.covers import LEAST_COVERED, Covers

PATHS = [f"a/k{number}" for number in range(5)] + [f"a/b/k{number}" for number in range(9)] + ["c/k", "k"]
TREES = [TreeQuery(prefix=prefix) for prefix in ("a/", "a/b/")]
WISHES = [*(KeyQuery(path=path) for path in PATHS), *TREES]
KEYS = [KeyQuery(path=path) for path in PATHS]
ANY = st.integers(0, 99)
WANTED = st.one_of(
    st.just(KEYS),
    st.just(KEYS[5:14]),
    st.just(WISHES),
    st.just([*KEYS[:5], TREES[0]]),
    st.sets(st.sampled_from(WISHES)),
)
PUT = st.tuples(st.just("put"), st.sampled_from(PATHS))
DELETE = st.tuples(st.just("delete"), st.sampled_from(PATHS))
ROUND = st.just(("round",))
ASK, COME = (st.tuples(st.just(step), ANY) for step in ("ask", "come"))
STEP = st.one_of(PUT, DELETE, PUT, DELETE, ASK, COME, ROUND, st.just(("reset",)), st.tuples(st.just("want"), WANTED))
STEPS = st.lists(STEP, min_size=20, max_size=50)


def paths_in(query):
    return [query.path] if isinstance(query, KeyQuery) else [path for path in PATHS if path.startswith(query.prefix)]


class World:
    """A KV store whose values are versions, and what a catalog was given through covers.

    One request of a query is under way at a time, and ends with what was there when it was asked. A request whose
    query is asked no more is dropped, as the planner does.
    """

    def __init__(self):
        self.index = self.moment = 1
        self.values: dict[str, bytes] = {}
        self.covers = Covers()
        self.wanted: frozenset = frozenset()
        self.under_way: dict = {}
        self.given: dict = {}
        self.given_at: dict = {}
        self.want(KEYS)

    def truth(self, query):
        return {path: self.values[path] for path in paths_in(query) if path in self.values}

    def write(self, path, value):
        self.index, self.moment = self.index + 1, self.moment + 1
        self.values.pop(path, None)
        if value is not None:
            self.values[path] = value

    def want(self, queries):
        self.wanted = frozenset(queries)
        self.prune(self.covers.want(self.wanted))
        self.given = {query: told for query, told in self.given.items() if query in self.wanted}
        self.given_at = {query: at for query, at in self.given_at.items() if query in self.wanted}
        for query in self.wanted:
            if (found := self.covers.known(query)) is not None:
                self.take(found)

    def prune(self, asked):
        for query in self.under_way.keys() - asked:
            del self.under_way[query]

    def take(self, answer, at=None):
        assert answer.query in self.wanted, "only wanted queries are answered"
        if at is not None:
            assert at >= self.given_at.get(answer.query, 0), "an answer is older than the newest given"
            self.given_at[answer.query] = at
        self.given[answer.query] = {entry.path: entry.data for entry in answer.value}

    def ask(self, query):
        self.under_way[query] = (self.moment, self.index, self.truth(query))

    def come(self, query):
        at, index, found = self.under_way.pop(query)
        value = tuple(KeyEntry(path=path, data=data) for path, data in sorted(found.items()))
        for answer in self.covers.answers(Answer(query=query, value=value, index=index)):
            self.take(answer, at)
        self.prune(self.covers.asked())

    def do(self, step, *arguments):
        match step, arguments:
            case "put", [path]:
                self.write(path, b"%d" % (self.moment + 1))
            case "delete", [path]:
                self.write(path, None)
            case "want", [queries]:
                self.want(queries)
            case "round", _:
                self.round()
            case "reset", _:
                self.index = 0
            case "ask", [place] if asked := sorted(self.covers.asked(), key=str):
                self.ask(asked[place % len(asked)])
            case "come", [place] if self.under_way:
                self.come(sorted(self.under_way, key=str)[place % len(self.under_way)])

    def settle(self):
        """Have everything asked and answered again until nothing new is asked."""
        self.under_way.clear()
        for _ in range(4):
            self.round()

    def round(self):
        """Have everything that is asked now answered as it is now."""
        for query in sorted(self.covers.asked(), key=str):
            self.ask(query)
        while self.under_way:
            self.come(min(self.under_way, key=str))


OVERTAKEN = [
    *(("put", "a/k0"), ("put", "a/k1"), ("want", [KEYS[0], TREES[0]]), ("round",)),
    *(("put", "a/k2"), ("ask", 0), ("want", WISHES)),  # the folder is asked
    *(("put", "a/k0"), ("ask", 0), ("come", 0), ("come", 0)),  # the key that it lacked, whose answer comes first
]
"""A folder's answer comes after that of a key below it, which was asked later."""


@settings(max_examples=examples(200))
@given(STEPS)
@example(OVERTAKEN)
def test_no_change_is_lost_and_no_answer_is_older_than_the_newest_given(steps):
    world = World()
    for step in steps:
        world.do(*step)
    world.settle()
    assert world.given == {query: world.truth(query) for query in world.wanted}


@settings(max_examples=examples(200))
@given(STEPS)
def test_at_rest_fewer_polls_than_a_cover_needs_are_left_in_each_folder(steps):
    world = World()
    for step in steps:
        world.do(*step)
    world.settle()
    polled = world.covers.asked()
    assert polled <= world.wanted | {*TREES, TreeQuery(prefix="c/")}
    for tree in TREES:
        single = [query for query in polled if isinstance(query, KeyQuery) and query.path.startswith(tree.prefix)]
        assert len(single) < LEAST_COVERED
        assert tree not in world.wanted or not single
