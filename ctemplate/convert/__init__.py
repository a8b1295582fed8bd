"""consul-template's Go templates as Jinja templates of ours. Pure: text goes in, text and findings come out."""

from ctemplate.convert.conversion import Conversion, convert

__all__ = ["Conversion", "convert"]
