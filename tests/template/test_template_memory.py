"""An edited template replaces the old one, and nothing of the old one stays in memory."""

import gc
import weakref

from rendering import load, web, world

from ctemplate.nginx.surroundings import ConfigPlace
from ctemplate.template import Renderer

SOURCE = """\
{% macro line(i) %}
  server {{ i.address }}:{{ i.port }};
{% endmacro %}
{% for s in services() %}
upstream {{ s.name | identifier }} {
{% for i in service(s.name) %}
{{ line(i) }}{% endfor %}
}
{% endfor %}
"""


def test_a_template_that_was_rendered_and_replaced_is_gone():
    renderer = Renderer([load(SOURCE)])
    place = ConfigPlace(inside=b"http", taken=frozenset())  # so that prints are proven, and their lines noted
    assert "server 10.0.0.1:8000;" in renderer.render(world(web()), [place]).texts[0]
    old = weakref.ref(renderer._templates[0]._compiled)
    renderer = Renderer([load(SOURCE)], before=renderer)
    renderer.render(world(web()), [place])
    gc.collect()
    assert old() is None
