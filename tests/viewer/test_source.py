"""Results that cannot be shown: one sentence, and no view."""

import json
import re
import shutil

import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from made_up_view import run, write
from rasterio.transform import from_origin

pytestmark = pytest.mark.any_host


def lose_summary(path):
    path.with_suffix('.json').unlink()


def other_summary(path):
    path.with_suffix('.json').write_text('[1]')


def lose_before(path):
    path.with_name('before.tif').unlink()


def other_grid(path):
    write(path.with_name('before.tif'), np.zeros((3, 50, 120), np.uint8))


def other_place(path):
    write(
        path.with_name('before.tif'),
        np.zeros((3, 90, 120), np.uint8),
        transform=from_origin(500_001, 5_000_000, 0.5, 0.5),
    )


def other_size(path):
    summary = json.loads(path.with_suffix('.json').read_text())
    path.with_suffix('.json').write_text(json.dumps({**summary, 'width': 7}))


def truncated(path):
    with rasterio.open(path) as dataset:
        start = int(dataset.get_tag_item('BLOCK_OFFSET_0_0', 'TIFF', 1))
    data = path.read_bytes()
    path.write_bytes(data[:start] + bytes(len(data) - start))


def broken_polygons(path):
    path.with_suffix('.gpkg').write_bytes(b'nothing')


def all_nodata(path):
    with rasterio.open(path, 'r+', IGNORE_COG_LAYOUT_BREAK='YES') as dataset:
        dataset.write(np.full((1, 90, 120), 255, np.uint8))


class TestBadInput:
    @pytest.mark.parametrize(
        ('spoil', 'sentence'),
        [
            (lose_summary, r'not a result of hsonet scene'),
            (other_summary, r'not a result of hsonet scene'),
            (
                lose_before,
                r'before\.tif, an input of .*, no longer exists: give it with --before FILE',
            ),
            (other_grid, r'before\.tif \(120 x 50 pixels\) does not match the grid of'),
            (other_place, r'does not match the grid of'),
            (other_size, r'does not match its summary'),
            (truncated, r'change\.tif cannot be read'),
            (broken_polygons, r'change\.gpkg cannot be read as the polygons'),
            (all_nodata, r'contains only nodata'),
        ],
    )
    def test_one_sentence(self, small, capsys, spoil, sentence):
        spoil(small)
        assert run(small) == 2
        error = capsys.readouterr().err
        assert re.search(sentence, error)
        assert error.count('\n') == 1
        assert not list(small.parent.glob('*view*'))

    @pytest.mark.parametrize(
        'key',
        ['valid_pixels', 'changed_pixels', 'changed_share', 'changed_area_m2', 'polygons', 'min_area_m2'],
    )
    def test_summary_without_a_figure(self, small, capsys, key):
        summary = json.loads(small.with_suffix('.json').read_text())
        del summary[key]
        small.with_suffix('.json').write_text(json.dumps(summary))
        assert run(small) == 2
        assert 'not a result of hsonet scene' in capsys.readouterr().err

    def test_wrong_files(self, small, tmp_path, capsys):
        for path, sentence in (
            (small.with_name('none.tif'), 'none.tif does not exist'),
            (small.with_suffix('.gpkg'), 'is not a GeoTIFF'),
            (small.with_name('change_mask.tif'), 'not a result of hsonet scene'),
            (tmp_path, ''),
        ):
            code = run(path)
            assert code == (0 if path == tmp_path else 2)
            assert sentence in capsys.readouterr().err
        (tmp_path / 'empty').mkdir()
        assert run(tmp_path / 'empty') == 2
        assert 'contains no results of hsonet scene' in capsys.readouterr().err
        assert run(tmp_path, '--before', small) == 2
        assert 'are for a single scene' in capsys.readouterr().err
        assert run(small, '--before', tmp_path / 'none.tif') == 2
        assert 'none.tif does not exist' in capsys.readouterr().err

    def test_moved_dates(self, small, tmp_path):
        moved = small.with_name('before.tif').rename(tmp_path / 'elsewhere.tif')
        assert run(small, '--before', moved) == 0
        moved.rename(small.with_name('before.tif'))
        together = shutil.copytree(small.parent, tmp_path / 'together')
        shutil.rmtree(small.parent)
        assert run(together / 'change.tif') == 0  # found beside the result
