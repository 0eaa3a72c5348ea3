"""One run over a source: read scene by scene, cut, write tiles, record what was written."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hsonet_mm.errors import UserError
from hsonet_mm.files import write_bytes
from hsonet_mm.images import Note, image_size, join, notes_of, place_note
from hsonet_mm.index import ROLES, SPLITS, SceneFiles, some
from hsonet_mm.labels import IGNORED, Figures, LabelCoding, LabelSurvey, label_remarks
from hsonet_mm.preparation.label_files import find_coding, read_scene_label
from hsonet_mm.preparation.options import PrepareOptions
from hsonet_mm.preparation.sources import Source
from hsonet_mm.preparation.tiling import Unit, assign_splits, blocks, cut, offsets, rank
from hsonet_mm.progress import track
from hsonet_mm.texts import counted, printable
from hsonet_mm.version import __version__

__all__ = ['NOT_LABELLED', 'Cutter']

NOT_LABELLED = 127
"""Value of unlabelled pixels in a tile, beside 0 and 255; tools that threshold at 128 read it as unchanged."""

_WRITTEN = np.zeros(256, np.uint8)
_WRITTEN[[1, IGNORED]] = 255, NOT_LABELLED


class Cutter:
    """One run over a source; a table of splits by scene name counts in place of every other rule."""

    def __init__(
        self, source: Source, out: Path, options: PrepareOptions, table: dict[str, str] | None = None
    ) -> None:
        self.source, self.out, self.options, self.table = source, out, options, table
        self.stride = options.stride or options.tile
        self.tiles: dict[str, dict[str, Any]] = {}
        self.coding = LabelCoding()
        self.noisy = ''
        self.unlisted: list[str] = []
        self.notes: dict[str, list[str]] = {}
        self.paths: dict[str, list[Path]] = {}

    def run(self) -> dict[str, Any]:
        """Cut everything; returns the manifest."""
        index = self.source.scenes(self.options.folders or None)
        for scene in index.scenes:
            if missing := scene.missing():
                there, gone = next(iter(scene.files.values())), ' and '.join(missing)
                raise UserError(
                    f'{there}: has no counterpart of the same name in {gone}: add it or remove this file'
                )
        survey = find_coding(self.source, index, self.options.changed_values, self.options.ignored_values)
        self.coding, self.unlisted = survey.require().coding, index.unlisted
        units = [unit for scene in index.scenes for unit in self._units(scene)]
        splits = assign_splits(units, self.options.val, self.options.test, self.options.seed, self.table)
        by_scene: dict[str, list[Unit]] = {}
        for unit in units:
            by_scene.setdefault(unit.scene.name, []).append(unit)
        for group in track(by_scene.values(), 'cutting', len(by_scene)):
            self._cut_scene(group, splits)
        self.source.check_polygons()
        self._drop_empty_tiles()
        if not self.tiles:
            raise UserError(f'{self.source.path}: no tile is left: lower --tile or raise --max-empty')
        return {
            'format': 1,
            'hsonet_mm': __version__,
            'source': self.source.path.name,
            'layout': index.layout,
            'labels': str(self.coding),
            'parameters': asdict(self.options)
            | {
                'reading': self.options.reading.to_dict(),
                'stride': self.stride,
                'split_file': bool(self.table),
            },
            'splits': self._summary(splits),
            'warnings': self._warnings(splits),
            'files': [self.tiles[key] for key in sorted(self.tiles)],
        }

    def _units(self, scene: SceneFiles) -> list[Unit]:
        if not self.options.block:
            return [Unit(scene.name, scene)]
        try:
            with self.source.open(scene.files['A']) as stream:
                height, width = image_size(stream)
        except Exception:
            return [Unit(scene.name, scene)]  # reading it in full will say what is wrong
        return blocks(scene, height, width, self.options.block, self.options.tile)

    def _cut_scene(self, units: Sequence[Unit], splits: dict[str, str]) -> None:
        scene, tile, border = units[0].scene, self.options.tile, self.options.border
        files = scene.files
        before, after = self.source.read_dates(files, self.options.reading)
        label = read_scene_label(self.source, scene, self.coding)
        named = (('A', before.values), ('B', after.values), ('label', label.classes))
        sizes = {role: array.shape[:2] for role, array in named}
        if len(set(sizes.values())) > 1:
            told = ', '.join(f'{role} {width}x{height}' for role, (height, width) in sizes.items())
            raise UserError(
                f'{files["A"]}: the sizes of the pair differ ({told}): both dates and the mask '
                'must cover the same pixels'
            )
        pair = join(before, after, self.options.reading.stretch)
        notes = notes_of(before, after, self.options.reading.nodata is not None)
        if label.raster is not None:
            notes += filter(None, [place_note(before.raster, label.raster)])
        self._note(notes)
        self.noisy = self.noisy or (files['label'] if label.noisy else '')
        whole = label.classes.shape == (tile, tile)
        for unit in units:
            height = unit.height or label.classes.shape[0]
            width = unit.width or label.classes.shape[1]
            rows, columns = (offsets(length, tile, self.stride, border) for length in (height, width))
            corners = [(y, x) for y in rows for x in columns]
            if not corners and border == 'shift':
                raise UserError(
                    f'{files["A"]}: {width}x{height} is smaller than a tile of {tile}: '
                    'lower --tile or use --border pad'
                )
            bottom, right = unit.y + height, unit.x + width
            for y, x in corners:
                top, left = unit.y + y, unit.x + x
                arrays = ((pair.t1, 0), (pair.t2, 0), (label.classes, IGNORED))
                parts = (cut(array[:bottom, :right], top, left, tile, beyond) for array, beyond in arrays)
                valid = None if pair.valid is None else cut(pair.valid[:bottom, :right], top, left, tile)
                stem = scene.stem if whole else f'{scene.stem}_{top:05d}_{left:05d}'
                self._write(
                    splits[unit.name], stem, dict(zip(ROLES, parts, strict=True)), valid, unit.name, top, left
                )

    def _note(self, notes: Sequence[Note]) -> None:
        """Store a warning by its kind."""
        for note in notes:
            self.notes.setdefault(note.kind, []).append(note.text)

    def _write(
        self,
        split: str,
        stem: str,
        parts: dict[str, np.ndarray],
        valid: np.ndarray | None,
        unit: str,
        y: int,
        x: int,
    ) -> None:
        key = f'{split}/{stem}'
        if key in self.tiles:
            raise UserError(f'{unit}: two scenes give the tile {key}: rename one of them')
        changed, ignored = (int((parts['label'] == one).sum()) for one in (1, IGNORED))
        place = {'split': split, 'name': f'{stem}.png', 'scene': unit, 'y': y, 'x': x}
        record = {**place, 'changed': changed, 'ignored': ignored}
        sums = record['sha256'] = {}
        for role, part in parts.items():
            suffix, data = ('.png', _png(_WRITTEN[part])) if role == 'label' else _encode(part, valid)
            path = self.out / split / role / f'{stem}{suffix}'
            write_bytes(path, data)
            self.paths.setdefault(key, []).append(path)
            sums[role] = hashlib.sha256(data).hexdigest()
        self.tiles[key] = record

    def _drop_empty_tiles(self) -> None:
        """Drop tiles of train without change, in a random order by the seed."""
        if self.options.max_empty == 1:
            return
        train = [key for key, tile in self.tiles.items() if tile['split'] == 'train']
        empty = [key for key in train if not self.tiles[key]['changed']]
        empty.sort(key=lambda key: rank(self.options.seed, key))
        keep = int(self.options.max_empty / (1 - self.options.max_empty) * (len(train) - len(empty)))
        for key in empty[keep:]:
            del self.tiles[key]
            for path in self.paths.pop(key):
                path.unlink()

    def _summary(self, splits: dict[str, str]) -> dict[str, dict[str, Any]]:
        return {
            split: {
                'scenes': sum(value == split for value in splits.values()),
                'tiles': figures.labels,
                'changed_share': round(figures.changed_share, 6),
                'empty_share': round(np.mean([not tile['changed'] for tile in self._tiles_of(split)]), 6),
            }
            for split, figures in self.figures().items()
        }

    def _tiles_of(self, split: str) -> list[dict[str, Any]]:
        return [tile for tile in self.tiles.values() if tile['split'] == split]

    def figures(self) -> dict[str, Figures]:
        """Statistics of the labels of the tiles of every split that has some."""
        found = {}
        for split in SPLITS:
            if tiles := self._tiles_of(split):
                changed, ignored = (sum(tile[key] for tile in tiles) for key in ('changed', 'ignored'))
                found[split] = Figures(len(tiles), changed, len(tiles) * self.options.tile**2 - ignored)
        return found

    def tile_survey(self) -> LabelSurvey:
        """Label coding of the tiles, which differs from that of the source."""
        ignored = (NOT_LABELLED,) if any(tile['ignored'] for tile in self.tiles.values()) else ()
        return LabelSurvey(LabelCoding(ignored=ignored), self.figures())

    def _warnings(self, splits: dict[str, str]) -> list[str]:
        told = []
        if self.stride > self.options.tile:
            told.append(
                f'--stride {self.stride} is larger than --tile {self.options.tile}: '
                'pixels between tiles are lost'
            )
        if self.stride < self.options.tile and set(splits.values()) - {'train'}:
            told.append(
                'tiles overlap in val and test too: their pixels count more than once in every figure'
            )
        if self.options.border == 'drop':
            told.append('--border drop: pixels at the lower and right border are lost')
        if self.noisy:
            told.append(
                f'{self.noisy} contains values between 0 and 255: such labels were thresholded at 128, check one'
            )
        if self.unlisted:
            count = counted(len(self.unlisted), 'scene')
            told.append(f'{count} in no split, left out: {printable(some(self.unlisted))}')
        for texts in self.notes.values():
            told.append(texts[0] + (f' (so do {len(texts) - 1} more)' if len(texts) > 1 else ''))
        told += [remark for _, remark in label_remarks(self.figures()).values()]
        left = {tile['split'] for tile in self.tiles.values()}
        told += [f'there is no {split} split' for split in SPLITS if split not in left]
        return told


def _encode(values: np.ndarray, valid: np.ndarray | None) -> tuple[str, bytes]:
    """Encode a tile of a date and mark pixels without data: transparent in a png, masked in a GeoTIFF.

    The suffix is ``'.png'`` for three bands and ``'.tif'`` for any other number.
    """
    if values.shape[2] == 3:
        image = cv2.cvtColor(values, cv2.COLOR_RGB2BGR)
        if valid is not None and not valid.all():
            image = np.dstack([image, valid.astype(np.uint8) * np.uint8(255)])
        return '.png', _png(image)
    from hsonet_mm.images.gdal import encode_tiff

    return '.tif', encode_tiff(values, valid)


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes()
