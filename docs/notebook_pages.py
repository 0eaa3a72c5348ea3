"""Hook of MkDocs: every notebook in docs/ becomes a page, with the outputs that it was saved with."""

import base64
import json
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

OF_PANDAS = re.compile(r'<style.*?</style>\s*|(?<=<table)[^>]*|(?<=<tr)[^>]*', re.S)
"""Styles of a data frame; the page has its own."""
LINK = re.compile(r'(\]\([\w/.-]+)\.ipynb\b')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put a page in the place of each notebook, and files beside it in the place of its pictures."""
    for notebook in [file for file in files if file.src_uri.endswith('.ipynb')]:
        stem = notebook.src_uri.removesuffix('.ipynb')
        page, pictures = to_markdown(json.loads(notebook.content_string), stem.rpartition('/')[2])
        files.remove(notebook)
        files.append(File.generated(config, f'{stem}.md', content=page))
        for name, picture in pictures.items():
            folder = stem.rpartition('/')[0]
            files.append(File.generated(config, f'{folder}/{name}'.lstrip('/'), content=picture))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to notebooks lead to their pages."""
    return LINK.sub(r'\1.md', markdown)


def to_markdown(notebook: dict[str, Any], name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown.

    Args:
        notebook: Its JSON, of format 4.
        name: How names of pictures begin.

    Returns:
        The text, and the pictures (PNG) by the names that it links to.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            parts.append(source)
            continue
        parts.append(f'```python\n{source}\n```')
        for output in cell['outputs']:
            data = output.get('data', {})
            if 'image/png' in data:
                picture = f'{name}_{len(pictures)}.png'
                pictures[picture] = base64.b64decode(data['image/png'])
                parts.append(f'![Output of the cell above]({picture})')
            elif 'text/html' in data:
                parts.append(OF_PANDAS.sub('', ''.join(data['text/html'])).strip())
            elif text := ''.join(data.get('text/plain', output.get('text', ''))).rstrip():
                parts.append(f'```text\n{text}\n```')
    return '\n\n'.join(parts) + '\n', pictures
