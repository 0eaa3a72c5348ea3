"""Hook of MkDocs: fills models.md with the cards of the models that come with the package."""

import re
from typing import Any

from hsonet_mm.pretrained import model_card, model_names

MARKER = '<!-- models -->'


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace ``<!-- models -->`` by the cards."""
    return markdown.replace(MARKER, cards()) if MARKER in markdown else markdown


def cards() -> str:
    """The cards one after the other, their headings a level lower."""
    return '\n\n'.join(re.sub(r'^#', '##', model_card(name), flags=re.M) for name in model_names())
