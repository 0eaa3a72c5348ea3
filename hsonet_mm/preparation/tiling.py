"""Positions of tiles, and assignment of scenes to splits."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from hsonet_mm.errors import UserError
from hsonet_mm.index import SPLITS, SceneFiles, find_name, name_key
from hsonet_mm.texts import decode_text, read_rows
from hsonet_mm.windows import starts

__all__ = ['BORDERS', 'Unit', 'assign_splits', 'blocks', 'cut', 'offsets', 'rank', 'read_split_file']

BORDERS = ('shift', 'pad', 'drop')


@dataclass(frozen=True)
class Unit:
    """The unit that is assigned to a split: a scene, or a block of a very large one.

    The name of a block ends in its upper left corner; sizes are in pixels, None is all.
    """

    name: str
    scene: SceneFiles
    y: int = 0
    x: int = 0
    height: int | None = None
    width: int | None = None


def blocks(scene: SceneFiles, height: int, width: int, block: int, tile: int) -> list[Unit]:
    """Divide a large scene into blocks that are split like scenes; no tile crosses their borders.

    A remainder smaller than a tile is added to the last block.
    """
    rows, columns = _edges(height, block, tile), _edges(width, block, tile)
    if len(rows) == len(columns) == 2:
        return [Unit(scene.name, scene)]
    return [
        Unit(f'{scene.name}#{top}_{left}', scene, top, left, bottom - top, right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _edges(length: int, block: int, tile: int) -> list[int]:
    edges = list(range(0, length, block))
    if len(edges) > 1 and length - edges[-1] < tile:
        edges.pop()
    return [*edges, length]


def offsets(length: int, tile: int, stride: int, border: str) -> list[int]:
    """Where tiles begin along one axis, ascending; none if the axis is shorter than a tile, unless it is padded.

    ``border`` says what becomes of the rest that no whole tile covers: ``'shift'`` moves a last tile inward, so that
    nothing is lost and some pixels are in two tiles; ``'pad'`` lets the last tile reach beyond the image; ``'drop'``
    leaves the rest out.
    """
    if border == 'pad':
        return [start for start in range(0, max(length - tile, 0) + stride, stride) if start < length]
    if border == 'shift' and length >= tile:
        return list(starts(length, tile, stride))
    return list(range(0, length - tile + 1, stride))


def cut(array: np.ndarray, y: int, x: int, tile: int, beyond: int = 0) -> np.ndarray:
    """Cut one tile; pixels beyond the lower and right border have the value ``beyond``.

    Shapes: (H, W) or (H, W, C) in, (tile, tile) or (tile, tile, C) out.
    """
    part = array[y : y + tile, x : x + tile]
    rest = [(0, tile - part.shape[0]), (0, tile - part.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(part, rest, constant_values=beyond) if part.shape[:2] != (tile, tile) else part


def rank(seed: int, name: str) -> str:
    """A sort key for a random order of names that depends only on the seed and the name."""
    return hashlib.sha256(f'{seed}/{name}'.encode(errors='surrogateescape')).hexdigest()


def assign_splits(
    units: Sequence[Unit], val: float, test: float, seed: int, table: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Give every unit a split.

    A table decides alone. The splits of a source are kept; if it has train and test only, ``val`` is taken
    from train. Otherwise units are put in an order drawn from the seed and their names, whatever the order of
    their listing; the first are for test, the next for val.
    """
    if table is not None:
        return _by_table(units, table)
    result = {unit.name: unit.scene.split for unit in units if unit.scene.split}
    free = [unit.name for unit in units if not unit.scene.split]
    shares = {'test': test, 'val': val}
    if result:
        if set(result.values()) != {'train', 'test'} or val == 0:
            return result
        free = [name for name, split in result.items() if split == 'train']
        shares = {'val': val}
    free.sort(key=lambda name: rank(seed, name))
    counts = {split: max(1, round(share * len(free))) for split, share in shares.items() if share > 0}
    if sum(counts.values()) >= len(free):
        raise UserError(
            f'too few scenes ({len(free)}, such as {free[0]}) to split off {" and ".join(counts)}: set --val and '
            '--test lower or to 0, divide large scenes with --block, or name the splits with --split-file'
        )
    result |= dict.fromkeys(free, 'train')
    for split, count in counts.items():
        result |= dict.fromkeys(free[:count], split)
        free = free[count:]
    return result


def _by_table(units: Sequence[Unit], lines: Mapping[str, str]) -> dict[str, str]:
    known = {unit.name for unit in units} | {unit.scene.name for unit in units}
    table: dict[str, str] = {}
    for name, split in lines.items():
        key = find_name(name, known)
        if table.setdefault(key, split) != split:
            raise UserError(f'the split file gives {key!r} two splits, {table[key]} and {split}: keep one')
    if unknown := set(table) - known:
        raise UserError(
            f'the split file names {min(unknown)!r}, which the source does not contain: correct the name'
        )
    result = {unit.name: table.get(unit.name) or table.get(unit.scene.name) or '' for unit in units}
    without = [name for name, split in result.items() if not split]
    if without:
        raise UserError(f'the split file does not assign {without[0]!r}: add it with train, val or test')
    return result


def read_split_file(path: Path) -> dict[str, str]:
    """Read which scene belongs to which split.

    The file is a table of scenes and their splits, with or without the heading ``scene,split``, see
    :func:`~hsonet_mm.texts.read_rows`; or a json object of scenes and their splits, or of splits and their lists of
    scenes.
    """
    if not path.is_file():
        raise UserError(f'{path} does not exist: give a CSV file with the columns scene,split, or JSON')
    try:
        if path.suffix.lower() == '.json':
            content = json.loads(decode_text(path.read_bytes()))
            if not isinstance(content, dict):
                raise ValueError('it is not an object')
            lists = content and all(isinstance(value, list) for value in content.values())
            pairs = (
                [(n, key) for key, names in content.items() for n in names]
                if lists
                else list(content.items())
            )
        else:
            pairs = _split_rows(read_rows(path.read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(
            f'{path}: is not a split file ({error}): write lines scene,split or a json object'
        ) from None
    table: dict[str, str] = {}
    for name, written in pairs:  # in JSON either may be a number, or a list
        split = str(written).lower()
        if split not in SPLITS:
            raise UserError(f'{path}: invalid split {written!r} of {name!r}: expected train, val or test')
        key = name_key(str(name))
        if table.setdefault(key, split) != split:
            raise UserError(f'{path}: gives {name!r} two splits, {table[key]} and {split}: keep one')
    return table


def _split_rows(rows: Sequence[tuple[int, list[str]]]) -> list[tuple[str, str]]:
    """The scene and the split of each row, by the columns of the heading; without one, the first and the second."""
    scene, split = 0, 1
    heading = [cell.lower() for cell in rows[0][1]] if rows else []
    if {'scene', 'split'} <= set(heading):
        scene, split, rows = heading.index('scene'), heading.index('split'), rows[1:]
    for number, row in rows:
        if len(row) <= max(scene, split):
            raise ValueError(f'line {number} has no split')
    return [(row[scene], row[split]) for _, row in rows]
