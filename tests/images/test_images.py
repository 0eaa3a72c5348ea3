"""Odd files and pictures end in a right result or a sentence, whoever reads them: predict, scene and check."""

import itertools
import os
import random
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio
from PIL import Image

pytest.importorskip('shapely')

from rasters import RGB, save_turned, write_tiff

from hsonet_mm.commands.predict import predict_paths
from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.preparation.check import check_dataset
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host

ODD_FILES = int(os.environ.get('ODD_FILES', 30))
"""Generated files of the sweep; 200 take a minute or two."""


class Difference:
    """A model whose probability is the mean difference of the bands."""

    name, threshold, threshold_source, versions, reading = 'difference', 0.1, 'own', {}, Reading()
    tile_size, crop_size, slides, device = None, None, False, 'cpu'
    ground_resolution = None

    def whole(self):
        return self

    def probs(self, t1, t2):
        return np.abs(t1.astype(np.float32) - t2).mean(axis=3) / 255


@dataclass(frozen=True)
class Odd:
    """A generated pair: bands, type, compression, what says "no data", and whether it is declared how to read it."""

    bands: int
    dtype: str
    compress: str
    hidden: str
    declared: bool

    def reading(self):
        bands = {1: '1,1,1', 2: '1,2,1'}.get(self.bands, '1,2,3') if self.declared else None
        return Reading.make(
            bands, '0,250' if self.declared else None, 7 if self.hidden == 'declared' else None
        )

    def clear(self):
        """Whether the file says which bands are red, green and blue."""
        return self.declared or self.bands in (1, 3)


def odd_files(count):
    """So many of all combinations, the same ones each time."""
    every = itertools.product(
        (1, 2, 3, 4, 6),
        ('uint8', 'uint16', 'int16', 'int32', 'float32', 'float64'),
        ('none', 'lzw', 'deflate', 'zstd', 'lerc', 'webp', 'jpeg', 'lzma'),
        ('nothing', 'alpha', 'mask', 'value', 'nan', 'declared'),
        (True, False),
    )
    possible = [
        Odd(*case)
        for case in every
        if (case[3] != 'nan' or case[1].startswith('float'))
        and (
            case[2] not in ('webp', 'jpeg')
            or (case[1] == 'uint8' and case[0] in (1, 3) and case[3] != 'alpha')
        )
        and not (case[2] == 'webp' and case[0] == 1)
        and not (case[2] == 'lerc' and case[3] == 'mask')
    ]
    return random.Random(0).sample(possible, count)


def write_odd(folder, odd):
    """Two dates that differ in a box, with a corner without data; returns paths, changed and valid."""
    height, width = 96, 128
    valid, changed = np.ones((height, width), bool), np.zeros((height, width), bool)
    changed[48:80, 64:112] = True
    if odd.hidden != 'nothing':
        valid[:32, :48] = False
    paths = []
    for date in range(2):
        ground = np.full((height, width, odd.bands), 60.0)
        ground[:, ::2] = 80
        ground[80:, :64] = 240  # so that the percentiles of both dates are the same
        if date:
            ground[changed] = 240
        mark = {'nan': np.nan, 'value': 7, 'declared': 7}.get(odd.hidden, 7)
        if odd.hidden in ('nan', 'value', 'declared'):
            ground[~valid] = mark
        image, kinds, profile = ground.astype(odd.dtype), [], {}
        kinds = RGB if odd.bands == 3 else ['gray'] if odd.bands == 1 else ['undefined'] * odd.bands
        if odd.hidden == 'alpha':
            full = np.iinfo(odd.dtype).max if odd.dtype.startswith(('u', 'i')) else 255
            image = np.dstack([image, np.where(valid, full, 0).astype(odd.dtype)])
            kinds = [*kinds, 'alpha']
        if odd.hidden == 'value':
            profile['nodata'] = 7
        if odd.compress == 'webp':
            profile['WEBP_LOSSLESS'] = True
        if odd.compress != 'none':
            profile['compress'] = odd.compress
        path = folder / f'{date}.tif'
        write_tiff(path, image, kinds, mask=valid if odd.hidden == 'mask' else None, **profile)
        paths.append(path)
    return paths, changed, valid


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('odd', odd_files(ODD_FILES), ids=str)
def test_odd_files(tmp_path, odd):
    """predict, scene and check find the box and the corner, or say in one sentence what the file is."""
    for role in ('A', 'B', 'label'):
        (tmp_path / 'train' / role).mkdir(parents=True)
    (before, after), changed, valid = write_odd(tmp_path, odd)
    Image.fromarray(changed.astype(np.uint8) * 255).save(tmp_path / 'train' / 'label' / '0.png')
    before = before.rename(tmp_path / 'train' / 'A' / '0.tif')
    after = after.rename(tmp_path / 'train' / 'B' / '0.tif')
    lossy = odd.compress == 'jpeg'

    def agrees(found, expected):
        return (found != expected).mean() < (0.05 if lossy else 1e-9)

    detector = ChangeDetector(Difference(), reading=odd.reading())
    options = SceneOptions(tile=128, overlap=32, min_area=0, reading=odd.reading())
    target = tmp_path / 'scene' / 'change.tif'
    if not odd.clear():
        with pytest.raises(UserError, match=r'^[^\n]* bands of [^\n]*name them, as --bands [\d,]+$'):
            predict_paths(detector, before, after, tmp_path / 'out')
        with pytest.raises(UserError, match=r'^[^\n]* bands of [^\n]*name them, as --bands [\d,]+$'):
            detect_scene(detector, before, after, target, options)
    else:
        predict_paths(detector, before, after, tmp_path / 'out')
        mask = np.asarray(Image.open(tmp_path / 'out' / '0_mask.png')) > 0
        assert agrees(mask, changed & valid)
        has_valid = (tmp_path / 'out' / '0_valid.png').is_file()
        assert has_valid == (not valid.all())
        if has_valid:
            assert agrees(np.asarray(Image.open(tmp_path / 'out' / '0_valid.png')) > 0, valid)
        result = detect_scene(detector, before, after, target, options)
        with rasterio.open(result.files['mask']) as dataset:
            found = dataset.read(1)
        assert agrees(found == 1, changed & valid)
        assert agrees(found != 255, valid)
    report = check_dataset(tmp_path, crop=0, duplicates=False, reading=odd.reading())
    kinds = {finding.kind for finding in report.findings if finding.level == 'error'}
    assert kinds <= ({'splits'} if odd.clear() else {'splits', 'unreadable'})
    assert ('unreadable' in kinds) == (not odd.clear())
    assert all(
        '\n' not in finding.message and 'damaged' not in finding.message for finding in report.findings
    )


def odd_pictures(count):
    """So many pictures without georeference, the same ones each time."""
    every = itertools.product(('.png', '.jpg', '.tif'), (1, 2, 3, 4), range(1, 9), range(1, 9))
    return random.Random(1).sample([one for one in every if one[0] != '.jpg' or one[1] in (1, 3)], count)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('suffix', 'bands', 'first', 'second'), odd_pictures(ODD_FILES // 3))
def test_odd_pictures(tmp_path, suffix, bands, first, second):
    """Pictures, each turned in its own way; two and four bands have alpha."""
    valid, changed = np.ones((48, 64), bool), np.zeros((48, 64), bool)
    changed[24:40, 32:56] = True
    paths = [tmp_path / f'{date}{suffix}' for date in range(2)]
    for path, orientation in zip(paths, (first, second), strict=True):
        image = np.full((48, 64, bands), 60, np.uint8)
        image[changed] = 240 if path == paths[1] else 60
        if bands in (2, 4):
            valid[:16, :24] = False
            image[..., -1] = valid * 255
        save_turned(path, image[..., 0] if bands == 1 else image, orientation)
    predict_paths(ChangeDetector(Difference()), *paths, tmp_path / 'out')
    mask = np.asarray(Image.open(tmp_path / 'out' / '1_mask.png')) > 0
    assert (mask != (changed & valid)).mean() < (0.02 if suffix == '.jpg' else 1e-9)
