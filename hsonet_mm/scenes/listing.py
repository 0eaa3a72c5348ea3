"""Which scenes there are: rasters of two folders, or lines of a list."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.scenes.scene import result_files

__all__ = ['Scene', 'check_results', 'find_scenes', 'read_list']

SUFFIXES = ('.tif', '.tiff', '.vrt', '.jp2', '.img')


@dataclass(frozen=True)
class Scene:
    """Two dates and where the result goes."""

    before: str
    after: str
    output: str

    def __str__(self) -> str:
        return f'{self.before} to {self.after}'


def find_scenes(before: Path, after: Path, output: Path) -> list[Scene]:
    """Match the rasters of two folders by the stems of their names.

    Args:
        before: Folder of the first date.
        after: Folder of the second date.
        output: Folder for the results, ``<stem>.tif`` and what belongs to it.

    Raises:
        UserError: if there are none or one lacks the other date.
    """
    stems = [_rasters(folder) for folder in (before, after)]
    if not stems[0] or not stems[1]:
        empty = after if stems[0] else before
        raise UserError(f'{empty} holds no rasters ({", ".join(SUFFIXES)}): give the folder that does')
    if single := sorted(stems[0].keys() ^ stems[1].keys()):
        folder, other = (before, after) if single[0] in stems[0] else (after, before)
        raise UserError(
            f'{single[0]} is in {folder}, but not in {other} ({len(single)} without a partner): give both dates '
            'the same names'
        )
    if output.resolve() in (before.resolve(), after.resolve()):
        raise UserError(
            f'{output} holds the rasters and cannot take the results: give another folder with -o'
        )
    return [
        Scene(str(path), str(stems[1][stem]), str(output / f'{stem}.tif')) for stem, path in stems[0].items()
    ]


def _rasters(folder: Path) -> dict[str, Path]:
    found = dict[str, Path]()
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in found:
                raise UserError(f'{found[path.stem]} and {path} have one name: remove one of them')
            found[path.stem] = path
    return found


def read_list(path: Path, output: Path | None = None) -> list[Scene]:
    """Read scenes from a CSV file with the columns before, after and output.

    Args:
        path: The file; relative paths in it start from its folder.
        output: Folder that relative outputs start from instead.

    Raises:
        UserError: if it is no such file.
    """
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f'the list {path} cannot be read ({error}): give a CSV file') from None
    if not {'before', 'after', 'output'} <= columns:
        raise UserError(f'the list {path} lacks a column: its first line is before,after,output')
    scenes = list[Scene]()
    for number, row in enumerate(rows, 2):
        cells = [row[name] for name in ('before', 'after', 'output')]
        if not all(cells):
            raise UserError(f'line {number} of {path} is not complete: give before, after and output')
        folders = (path.parent, path.parent, output or path.parent)
        scenes.append(Scene(*(str(folder / cell) for folder, cell in zip(folders, cells, strict=True))))
    if not scenes:
        raise UserError(f'the list {path} names no scenes: add a line for each')
    return scenes


def check_results(scenes: Sequence[Scene], polygons: str) -> None:
    """Make sure that no result of a scene takes the place of one of another scene, or of an input of any.

    Args:
        scenes: The scenes.
        polygons: Format of their polygons, which decides on the names of the results.

    Raises:
        UserError: if one does.
    """
    inputs = {Path(path).resolve(): scene for scene in scenes for path in (scene.before, scene.after)}
    written = dict[Path, Scene]()
    for scene in scenes:
        for path in result_files(Path(scene.output).absolute(), polygons).values():
            place = path.resolve()
            if place in inputs:
                raise UserError(
                    f'{path}, of the scene {inputs[place]}, would be replaced by a result of the scene {scene}: give '
                    'that another output'
                )
            if place in written:
                raise UserError(
                    f'{path} would be a result of two scenes, {written[place]} and {scene}: give one of them another '
                    'output, or other names of its rasters where these are in folders'
                )
            written[place] = scene
