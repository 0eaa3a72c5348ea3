"""Hook of MkDocs: equations, written as on GitHub, become MathML, which needs no script."""

import re
from typing import Any

from latex2mathml.converter import convert

DISPLAYED = re.compile(r'^```math\n(.*?)^```$', re.M | re.S)
INLINE = re.compile(r'\$`([^`\n]+)`\$')


def on_page_markdown(markdown: str, **_: Any) -> str:
    r"""Replace blocks of the language ``math`` and ``$`x`$`` in a line."""
    markdown = DISPLAYED.sub(
        lambda match: f'<div>{convert(match[1].strip(), display="block")}</div>', markdown
    )
    return INLINE.sub(lambda match: convert(match[1]), markdown)
