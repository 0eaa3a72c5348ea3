"""Extension of Griffe: docstrings, written with the roles of reStructuredText, become Markdown and MathML."""

import re
import textwrap
from typing import Any

import griffe
from latex2mathml.converter import convert

DISPLAYED = re.compile(r'^([ ]*)\.\. math::[ ]?(.*(?:\n(?:\1[ ]+\S.*)?)*)', re.M)
INLINE = re.compile(r':math:`([^`]+)`')
LITERAL = re.compile(r'(?<=\S)::$', re.M)
REFERENCE = re.compile(r':(?:class|func|meth|mod|data|attr):`~?([^`]+)`')


class Docstrings(griffe.Extension):
    """Convert the docstring of every object that is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called once for each object."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """Equations to MathML, references to code, literal blocks to blocks of code; everything else stays.

    Args:
        text: A docstring.
    """
    text = DISPLAYED.sub(_displayed, text)
    text = LITERAL.sub(':', text)  # the block below is indented, which is code in Markdown too
    text = INLINE.sub(lambda match: convert(match[1]), text)
    return REFERENCE.sub(lambda match: f'`{match[1]}`', text)


def _displayed(match: re.Match[str]) -> str:
    """An equation on lines of its own, at the indentation that it had."""
    equation = ' '.join(match[2].split())
    return textwrap.indent(f'\n<div>{convert(equation, display="block")}</div>\n\n', match[1])
