"""Lists of scenes: rasters of two folders, or lines of a CSV file."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.files import no_permission
from hsonet_mm.geo.places import raster_path
from hsonet_mm.images import RASTER_SUFFIXES
from hsonet_mm.index import by_stem
from hsonet_mm.scenes.scene import result_files
from hsonet_mm.texts import read_rows

__all__ = ['Scene', 'check_results', 'find_scenes', 'read_list']

COLUMNS = ('before', 'after', 'output')


@dataclass(frozen=True)
class Scene:
    """Two dates and the path of the result."""

    before: str
    after: str
    output: str

    def __str__(self) -> str:
        return f'{self.before} to {self.after}'


def find_scenes(before: Path, after: Path, output: Path) -> list[Scene]:
    """Match the rasters of two folders by the stems of their names."""
    stems = [_rasters(folder) for folder in (before, after)]
    if not stems[0] or not stems[1]:
        empty = after if stems[0] else before
        raise UserError(
            f'{empty} contains no rasters ({", ".join(RASTER_SUFFIXES)}): give a folder that does'
        )
    if single := sorted(stems[0].keys() ^ stems[1].keys()):
        folder, other = (before, after) if single[0] in stems[0] else (after, before)
        raise UserError(
            f'{single[0]} is in {folder}, but not in {other} ({len(single)} without a partner): give both dates '
            'the same names'
        )
    if output.resolve() in (before.resolve(), after.resolve()):
        raise UserError(f'{output} is the folder of the rasters: give another one for the results with -o')
    return [
        Scene(str(path), str(stems[1][stem]), str(output / f'{stem}.tif')) for stem, path in stems[0].items()
    ]


def _rasters(folder: Path) -> dict[str, Path]:
    names = (path.name for path in folder.iterdir() if path.is_file())
    return {stem: folder / name for stem, name in by_stem(names, RASTER_SUFFIXES, f'{folder}/').items()}


def read_list(path: Path, output: Path | None = None) -> list[Scene]:
    """Read scenes from a CSV file with the columns before, after and output, as spreadsheets write it too.

    The header may be written in any case, see :func:`~hsonet_mm.texts.read_rows`. Relative paths start from the folder
    of the file, those of outputs from ``output`` if it is given.
    """
    try:
        rows = read_rows(path.read_bytes())
    except PermissionError:
        raise no_permission('read', path) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = getattr(error, 'strerror', None) or error
        raise UserError(f'the list {path} cannot be read ({said}): give a CSV file') from None
    columns = [name.lower() for name in rows[0][1]] if rows else []
    if not set(COLUMNS) <= set(columns):
        raise UserError(f'invalid header of the list {path}: expected before,after,output')
    scenes = list[Scene]()
    for number, row in rows[1:]:
        cells = [dict(zip(columns, row, strict=False)).get(name) for name in COLUMNS]
        before, after, result = cells
        if not (before and after and result):
            raise UserError(f'line {number} of {path} is incomplete: give before, after and output')
        places = (_beside(path.parent, before), _beside(path.parent, after))
        scenes.append(Scene(*places, _from(output or path.parent, result)))
    if not scenes:
        raise UserError(f'the list {path} names no scenes: add a line for each')
    return scenes


def _beside(folder: Path, cell: str) -> str:
    """Parse the name of a raster in a list; paths are relative to the folder of the list."""
    place = raster_path(cell)
    return _from(folder, cell) if isinstance(place, Path) else str(place)


def _from(folder: Path, cell: str) -> str:
    """A path of a list; one with the backslashes of Windows is read elsewhere too, unless a file has that very name."""
    if os.sep == '/' and '\\' in cell and not (folder / cell).exists():
        cell = cell.replace('\\', '/')
    return str(folder / cell)


def check_results(scenes: Sequence[Scene], polygons: str) -> None:
    """Check that no result overwrites that of another scene, or an input."""
    inputs = {raster_path(path).resolve(): scene for scene in scenes for path in (scene.before, scene.after)}
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
