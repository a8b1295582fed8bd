"""Convert consul-template's Go templates to Jinja templates. Pure: text goes in, text and findings come out."""

from ctemplate.convert.conversion import Conversion, convert

__all__ = ["Conversion", "convert"]
