"""Which instances of a service are among the answers that a text was made from."""

from rendering import answers, instance, web

from ctemplate.core.model import Answer, Snapshot
from ctemplate.queries import PreparedQuery, ServicesQuery
from ctemplate.template.safety.known_upstreams import AnswersByService
from ctemplate.template.safety.render_pass import Run

NAMES = [f"s{number}" for number in range(50)]
CHOSEN = PreparedQuery(name="nearest")


class Counted(tuple):
    """An answer's value that counts how often it is read from its start."""

    __slots__ = ()
    times = 0

    def __iter__(self):
        type(self).times += 1
        return super().__iter__()


def run(used):
    return Run(snapshot=Snapshot({}), used=used)


def test_an_answer_that_names_no_service_is_read_once_for_all_services():
    Counted.times = 0
    listed = ServicesQuery()
    used = {listed: Answer(query=listed, value=Counted(NAMES))}
    known = AnswersByService()
    known.see([run(used)])
    assert [list(known.instances(name, [run(used)])) for name in NAMES] == [[]] * len(NAMES)
    assert Counted.times == 1


def test_instances_come_from_answers_that_name_their_service_and_from_those_that_choose():
    one, other = instance("web", 0), instance("web", 7)
    chosen = {CHOSEN: Answer(query=CHOSEN, value=(instance("api", 1), other))}
    known = AnswersByService()
    named = answers(web(), web(name="api"))
    known.see([run(named), run(chosen)])
    assert list(known.instances("web", [run(named), run(chosen)])) == [instance("web", 0, tags=("http",)), other]
    chosen = {CHOSEN: Answer(query=CHOSEN, value=(one,))}
    assert list(known.instances("web", [run(chosen)])) == [one]
    assert list(known.instances("api", [run(chosen)])) == []
