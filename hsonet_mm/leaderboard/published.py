"""Figures that papers state, to stand beside ours, never to be ranked with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from hsonet_mm.leaderboard.spec import Spec

__all__ = ['Published', 'published_table', 'read_published']

FILE = Path(__file__).with_name('published.csv')


@dataclass(frozen=True)
class Published:
    """One published result of class "changed", in percent, as the text of the file; a range where papers differ.

    The method is named as in the spec files; F1 and IoU are the lowest and the highest; what is not stated is empty.
    """

    method: str
    name: str
    data_set: str
    precision: str
    recall: str
    f1: tuple[str, str]
    iou: tuple[str, str]
    protocol: str
    source: str
    footnote: str


@lru_cache(maxsize=1)
def read_published() -> tuple[Published, ...]:
    """All published figures, in the order of the file ``published.csv`` beside this module."""
    table = pd.read_csv(FILE, dtype=str, keep_default_na=False)
    ranges = {
        name: list(zip(table.pop(f'{name}_low'), table.pop(f'{name}_high'), strict=True))
        for name in ('f1', 'iou')
    }
    return tuple(Published(**row) for row in table.assign(**ranges).to_dict('records'))


def published_table(spec: Spec, sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Published figures beside ours: a row a method, methods of the leaderboard first.

    Returns:
        ``heads`` of our columns, ``data_sets`` of the published ones, ``rows`` (key, name in the paper, our F1s,
        published figures with the number of their note) and ``notes``.
    """
    entries = {(entry.method, entry.data_set): entry for entry in read_published()}
    data_sets = list(dict.fromkeys(data_set for _, data_set in entries))
    names = {entry.method: entry.name for entry in entries.values()}
    own = [section for section in sections if section['home']]
    scores = [{row.method: row.figures.get('f1') for row in section['rows']} for section in own]
    notes: dict[str, int] = {}

    def quoted(method: str, data_set: str) -> tuple[str, int]:
        entry = entries.get((method, data_set))
        return (_quote(entry), notes.setdefault(_note(entry), len(notes) + 1)) if entry else ('', 0)

    mine = [name for block in spec.blocks.values() for name in block.methods]
    rows = [
        (
            method,
            names.get(method, ''),
            [score.get(method) for score in scores],
            [quoted(method, data_set) for data_set in data_sets],
        )
        for method in dict.fromkeys([*mine, *names])
    ]
    heads = [f'{section["cell"].block}: {section["cell"].data_set}' for section in own]
    return {'heads': heads, 'data_sets': data_sets, 'rows': rows, 'notes': list(notes)}


def _quote(entry: Published) -> str:
    """A published figure with as many digits as it was stated with."""
    low, high = entry.f1
    text = low if low == high else f'{low} to {high}'
    if entry.precision and entry.recall:
        text += f' (P {entry.precision}, R {entry.recall})'
    return f'{text}, IoU {entry.iou[0]}' if entry.iou[0] else text


def _note(entry: Published) -> str:
    return (
        '. '.join(part for part in (entry.source, f'Protocol: {entry.protocol}', entry.footnote) if part)
        + '.'
    )
