"""Hook of MkDocs: fills benchmark.md with tables made of the CSV files of the boards in docs/leaderboards."""

import csv
import re
from pathlib import Path
from typing import Any

BOARDS = Path(__file__).parent / 'leaderboards'
NBSP = '\N{NO-BREAK SPACE}'
MARKER = re.compile(r'^<!-- board: (\w+) -->$', re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace ``<!-- board: NAME -->`` by the tables of that board."""
    return MARKER.sub(lambda match: tables(match[1]), markdown)


def tables(board: str) -> str:
    """A table for each block and data set: whole test images, the threshold chosen on validation, best F1 first.

    Args:
        board: Name of a folder of docs/leaderboards.
    """
    with (BOARDS / board / 'summary.csv').open(encoding='utf-8', newline='') as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row['protocol'] == 'whole'
            and row['threshold_rule'] == 'val'
            and row['test_set'] == row['data_set']
            and row['f1_mean']  # the method has runs
        ]
    parts = []
    several = len({row['data_set'] for row in rows}) > 1
    for block, data_set in dict.fromkeys((row['block'], row['data_set']) for row in rows):
        best_first = sorted(
            (row for row in rows if (row['block'], row['data_set']) == (block, data_set)),
            key=lambda row: float(row['f1_mean']),
            reverse=True,
        )
        lines = [
            f'**{block[0].upper()}{block[1:]}{f", {data_set}" if several else ""}**\n',
            '| method | F1 | IoU | precision | recall | seeds | parameters (M) | GMACs |',
            '|---|---|---|---|---|---|---|---|',
        ]
        for row in best_first:
            scores = ' | '.join(_percent(row, name) for name in ('f1', 'iou', 'precision', 'recall'))
            size = f'{float(row["parameters_mean"]) / 1e6:.2f} | {float(row["macs_mean"]) / 1e9:.2f}'
            lines.append(f'| {row["method"]} | {scores} | {row["seeds"]} | {size} |')
        parts.append('\n'.join(lines))
    return '\n\n'.join(parts)


def _percent(row: dict[str, str], name: str) -> str:
    """Mean ± sample standard deviation over the seeds, in percent."""
    spread = row[f'{name}_std']
    return f'{100 * float(row[f"{name}_mean"]):.1f}' + (
        f'{NBSP}±{NBSP}{100 * float(spread):.1f}' if spread else ''
    )
