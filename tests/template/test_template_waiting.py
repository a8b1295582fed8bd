from pathlib import Path

from ctemplate.core.model import Answer, Instance, Service, Snapshot
from ctemplate.queries import ServiceQuery, ServicesQuery
from ctemplate.template import Renderer, Template

SOURCE = """{% for s in services() %}{% set port = s.listen_port %}{% for i in service(s.name) %}
listen {{ port }};{% endfor %}{% endfor %}"""


def test_the_answer_of_a_service_that_is_left_out_is_waited_for_as_well(tmp_path: Path):
    """Without it nobody knows who was registered first."""
    source = tmp_path / "t.j2"
    source.write_text(SOURCE)
    older, younger = ServiceQuery(name="a-99"), ServiceQuery(name="b-99")
    listed = (Service(name="a-99"), Service(name="b-99"))
    known = Instance(id="i", name="b-99", node="n", address="10.0.0.1", port=1, created=2)
    answers = {ServicesQuery(): listed, younger: (known,)}
    snapshot = Snapshot({query: Answer(query=query, value=value) for query, value in answers.items()})
    template = Template.load(source, variables={}, environ={})
    assert Renderer([template]).render(snapshot).missing == {older}
