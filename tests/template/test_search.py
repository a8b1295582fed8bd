"""Who prints which text, found by trials that leave services out."""

from collections import Counter

from hypothesis import given, strategies as st

from ctemplate.template.safety.search import MAX_TRIALS, Search, printers

NAMES = [f"s{number}" for number in range(40)]
TEXTS = [("t.j2:1", f"text{number}") for number in range(8)]


class Template:
    """Prints texts for services, as often as told, and counts the trials."""

    def __init__(self, *prints):
        self.prints, self.trials = prints, 0

    def count(self, without):
        self.trials += 1
        return Counter(text for name, text in self.prints if name not in without)

    def found(self, texts=None):
        totals = self.count(())
        found = printers({text: totals[text] for text in texts or totals}, NAMES, self.count)
        return {text: sorted(names) for text, names in found.items()}

    def truth(self):
        return {text: sorted(name for name, one in self.prints if one == text) for _, text in self.prints}


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(TEXTS)), max_size=40))
def test_all_printers_of_all_texts_are_found(prints):
    template = Template(*prints)
    assert template.found() == template.truth()


def test_many_texts_cost_little_more_than_one():
    pairs = [(name, ("t.j2:1", str(number // 2))) for number, name in enumerate(NAMES)]
    template = Template(*pairs)
    assert template.found() == template.truth()
    assert template.trials < 20


def test_a_text_that_is_printed_without_any_service_stays_unclear():
    template = Template(("s1", TEXTS[0]), ("s2", TEXTS[0]), ("nobody", TEXTS[1]), ("s3", TEXTS[1]))
    assert template.found() == {TEXTS[0]: ["s1", "s2"]}


def test_trials_are_limited_and_a_failing_one_tells_nothing():
    template = Template(*((f"n{number}", TEXTS[0]) for number in range(300)))
    assert printers({TEXTS[0]: 300}, [f"n{number}" for number in range(1000)], template.count) == {}
    assert template.trials == MAX_TRIALS + 1  # with the count of all
    assert printers({TEXTS[0]: 1}, NAMES, lambda _: None) == {}


def guilty(fails):
    """The names without which a line no longer fails, and the trials that it took to find them."""
    search = Search(where="t.j2:1", without=lambda left_out: fails(set(NAMES).difference(left_out)))
    return search.guilty(tuple(NAMES)), search.trials


@given(st.sets(st.sampled_from(NAMES), min_size=1, max_size=8))
def test_all_that_fail_alone_are_found(bad):
    found, trials = guilty(lambda names: not bad.isdisjoint(names))
    assert set(found) == bad
    assert trials <= 1 + 12 * len(bad)


@given(st.sets(st.sampled_from(NAMES), min_size=1, max_size=8))
def test_of_those_that_fail_together_the_first_stay(odd):
    found, _ = guilty(lambda names: not odd.isdisjoint(names) and not odd.issuperset(names))
    assert set(found) == (odd if NAMES[0] not in odd else set(NAMES) - odd)


def test_no_one_is_guilty_of_what_fails_without_all():
    assert guilty(lambda _: True) == ((), 1)
