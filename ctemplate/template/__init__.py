"""Templates: Jinja over the answers of a snapshot, with nothing in the data able to write a directive."""

from ctemplate.template.limits import Limits
from ctemplate.template.renderer import Renderer, Rendering
from ctemplate.template.template import Template

__all__ = ["Limits", "Renderer", "Rendering", "Template"]
