"""Templates: Jinja over the answers of a snapshot; registered data can never become a directive."""

from ctemplate.template.baseline import Baseline, template_digest
from ctemplate.template.edit_check import acceptable_snapshots
from ctemplate.template.renderer import Renderer
from ctemplate.template.rendering import Rendering
from ctemplate.template.safety.limits import RenderLimits
from ctemplate.template.safety.refusals import REFUSED, Refusal
from ctemplate.template.safety.render_pass import Owner
from ctemplate.template.safety.substitutes import KnownGood
from ctemplate.template.template import Template

__all__ = [
    "REFUSED",
    "Baseline",
    "KnownGood",
    "Owner",
    "Refusal",
    "RenderLimits",
    "Renderer",
    "Rendering",
    "Template",
    "acceptable_snapshots",
    "template_digest",
]
