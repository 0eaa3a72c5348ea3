"""Hook of MkDocs: runs ``hsonet explain`` on the packaged model and generated scenes, for explain.md."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from hsonet_mm.demo.generate import generate

MARKER = '<!-- explained: buildings -->'
CONFIG = Path(__file__).parents[1] / 'configs/hsonet_lite_buildings.py'
PAIR = 'test_0001'
FIGURES = {
    'network_1': 'Probability of change, relation maps of both dates at four levels, and Grad-CAM',
    'relations': 'Mean relation of foreground, hard and easy background by level',
    'features': 't-SNE of the features, with the silhouette score',
}
"""Figures of the command that the page shows, with their alternative texts."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the figures, and the page that the command writes."""
    with tempfile.TemporaryDirectory() as folder:
        page = explain(Path(folder))
        files.append(File.generated(config, 'explained.html', content=page.read_bytes()))
        for name in FIGURES:
            picture = (page.parent / f'{name}.webp').read_bytes()
            files.append(File.generated(config, f'img/explained/{name}.webp', content=picture))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marker by the figures, and a link to the page."""
    figures = [f'![{text}](img/explained/{name}.webp)' for name, text in FIGURES.items()]
    return markdown.replace(MARKER, '\n\n'.join([*figures, '[The whole page](explained.html)']))


def explain(folder: Path, pairs: int = 8, size: int = 256, samples: int = 300) -> Path:
    """Run the command on scenes that it has not seen.

    Args:
        folder: For the scenes and the result.
        pairs: Number of pairs that pixels are taken from.
        size: Height and width of the scenes in pixels.
        samples: Largest number of pixels of each kind.

    Returns:
        The page; its figures lie beside it.
    """
    data, page = folder / 'data', folder / 'page.html'
    generate(data, train=1, val=1, test=pairs, size=size)
    images = [data / 'test' / date / f'{PAIR}.png' for date in 'AB']
    command = [sys.executable, Path(__file__).parents[1] / 'tools/explain.py', CONFIG, 'buildings', *images]
    command += ['--data-root', data, '--features', 'test', '--samples', str(samples)]
    command += ['--pictures', folder, '--picture-format', 'webp', '-o', page]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PluginError(f'hsonet explain failed: {done.stderr}')
    return page
