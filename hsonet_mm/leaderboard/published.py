"""Published results, shown beside ours but never ranked with them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hsonet_mm.leaderboard.spec import Spec

__all__ = ['published_table', 'read_published']

FILE = Path(__file__).with_name('published.csv')


def read_published() -> list[Any]:
    """The published results of class "changed", in percent, in the order of ``published.csv`` beside this module.

    Columns are attributes of text. The method is named as in the spec files; ``f1_low`` and ``f1_high`` differ where
    papers do, as do those of ``iou``; what is not stated is empty.
    """
    return list(pd.read_csv(FILE, dtype=str, keep_default_na=False).itertuples(index=False))


def published_table(spec: Spec, sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Published results beside ours, one row per method, methods of the leaderboard first.

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


def _quote(entry: Any) -> str:
    """A published score with its original number of digits."""
    text = entry.f1_low if entry.f1_low == entry.f1_high else f'{entry.f1_low} to {entry.f1_high}'
    if entry.precision and entry.recall:
        text += f' (P {entry.precision}, R {entry.recall})'
    return f'{text}, IoU {entry.iou_low}' if entry.iou_low else text


def _note(entry: Any) -> str:
    return '. '.join(filter(None, (entry.source, f'Protocol: {entry.protocol}', entry.footnote))) + '.'
