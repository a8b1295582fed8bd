"""Templates: Jinja over the answers of a snapshot, with nothing in the data able to write a directive."""

from ctemplate.template.baseline import Baseline
from ctemplate.template.limits import Limits
from ctemplate.template.refusals import REFUSED, Refusal
from ctemplate.template.renderer import Renderer, Rendering
from ctemplate.template.run import Owner
from ctemplate.template.template import Template

__all__ = ["REFUSED", "Baseline", "Limits", "Owner", "Refusal", "Renderer", "Rendering", "Template"]
