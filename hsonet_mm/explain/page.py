"""The page of ``hsonet explain``, one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsonet_mm.explain.extra import require
from hsonet_mm.explain.features import Embedding
from hsonet_mm.explain.figures import (
    embedding_figure,
    pair_figure,
    relation_figure,
    shares_figure,
    view_figure,
)
from hsonet_mm.explain.networks import Network
from hsonet_mm.explain.views import View
from hsonet_mm.files import write_text
from hsonet_mm.pages import render
from hsonet_mm.pages.svg import to_svg
from hsonet_mm.training_log import SHARES
from hsonet_mm.version import __version__

__all__ = ['Content', 'Features', 'draw', 'write_page']

STAGES = 5
"""Parts of a training of which the first and the last are compared in words."""


@dataclass(frozen=True)
class Features:
    """Features of each network at pixels of a data set: t-SNE, and relations by level, (n, 2)."""

    source: str
    embeddings: list[Embedding]
    relations: list[dict[str, Any]]


@dataclass(frozen=True)
class Content:
    """All that the page shows: networks on a pair, over a training, and at pixels of a data set, if any."""

    networks: Sequence[Network]
    images: tuple[Path, Path] | None = None
    views: Sequence[View] = ()
    work_dir: Path | None = None
    log: Sequence[Mapping[str, Any]] = field(default_factory=list)
    features: Features | None = None

    @property
    def names(self) -> list[str]:
        """Names of the networks."""
        return [network.name for network in self.networks]


def draw(content: Content) -> dict[str, Any]:
    """The figures of a page by name: ``pair``, ``network_1`` ..., ``gradient_shares``, ``relations``, ``features``."""
    require('matplotlib')
    figures: dict[str, Any] = {}
    if content.views:
        figures['pair'] = pair_figure(content.views[0].pair)
        figures |= {f'network_{number}': view_figure(view) for number, view in enumerate(content.views, 1)}
    if content.work_dir is not None:
        steps = [one.iteration for one in content.networks if one.iteration is not None]
        figures['gradient_shares'] = shares_figure(content.log, steps)
    if content.features is not None:
        embeddings = content.features.embeddings
        figures['relations'] = relation_figure(content.names, content.features.relations, embeddings[0].kind)
        figures['features'] = embedding_figure(content.names, embeddings)
    return {name: figure for name, figure in figures.items() if figure is not None}


def write_page(path: Path, content: Content, figures: Mapping[str, Any]) -> None:
    """Write the page."""
    text = render(
        'explain/page.html.j2',
        content=content,
        figures={name: to_svg(figure, name.replace('_', ' ')) for name, figure in figures.items()},
        widths={name: figure.get_figwidth() for name, figure in figures.items()},
        movement=movement(content.log),
        version=__version__,
    )
    write_text(path, text)


def movement(log: Sequence[Mapping[str, Any]]) -> list[tuple[str, float, float]]:
    """Means of the shares of the gradient in the first and the last fifth of a log, by name, in percent, if any."""
    logged = [one for one in log if SHARES.keys() <= one.keys()]
    if not logged:
        return []
    part = max(1, len(logged) // STAGES)
    return [
        (name, *(100 * sum(one[key] for one in stage) / part for stage in (logged[:part], logged[-part:])))
        for key, (name, _) in SHARES.items()
    ]
