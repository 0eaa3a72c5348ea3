"""``tools/score_model.py``: write scores into the card of a model, for maintainers."""

import argparse
import json
from pathlib import Path
from typing import Any

from hsonet_mm import pretrained
from hsonet_mm.errors import UserError
from hsonet_mm.files import write_json

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``tools/score_model.py``."""
    parser.add_argument('name', help='name of the model')
    parser.add_argument(
        'data', help='what the card calls the test set; figures that it has of it are replaced'
    )
    parser.add_argument('--test', type=Path, metavar='JSON', help='what `hsonet test -o` wrote')
    parser.add_argument('--robustness', type=Path, metavar='JSON', help='what `hsonet robustness -o` wrote')


def run(args: argparse.Namespace) -> int:
    """Run ``tools/score_model.py``; returns the exit code."""
    path = pretrained.model_path(args.name).with_suffix('.json')
    figures = json.loads(path.read_text(encoding='utf-8'))
    if args.test is not None:
        _replace(figures['scores'], {'data': args.data, **_read(args.test, _test_row)})
    if args.robustness is not None:
        _replace(figures['perturbed'], {'data': args.data, **_read(args.robustness, _robustness_row)})
    write_json(path, figures)
    print(pretrained.model_card(args.name))
    return 0


def _replace(rows: list[dict[str, Any]], new: dict[str, Any]) -> None:
    """Replace the row of the same data, or append one."""
    for index, row in enumerate(rows):
        if row['data'] == new['data']:
            rows[index] = new
            return
    rows.append(new)


def _read(path: Path, row: Any) -> dict[str, Any]:
    """The scores of a file that the card shows."""
    try:
        found: dict[str, Any] = row(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} cannot be read as scores ({error}): give a file that hsonet test -o or hsonet '
            'robustness -o wrote'
        ) from None
    return found


def _test_row(content: dict[str, Any]) -> dict[str, Any]:
    names = ('threshold', 'precision', 'recall', 'f1', 'iou')
    return {'pairs': content['images'], **{name: float(content[name]) for name in names}}


def _robustness_row(content: dict[str, Any]) -> dict[str, Any]:
    names = ('f1', 'perfect_f1')
    return {
        'rows': [
            {'name': row['name'], **{name: float(row[name]) for name in names}} for row in content['rows']
        ]
    }
