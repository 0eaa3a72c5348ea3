"""What is told of a pair whose files do not belong together, and what is black in it."""

import numpy as np
import pytest
from rasterio.transform import from_origin
from rasters import GRID, texture, write_tiff

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading, join, notes_of, read_pixels

pytestmark = pytest.mark.any_host


class TestNoData:
    def test_pair_is_black_where_either_date_has_none(self, tmp_path):
        t1, t2 = texture(), texture(seed=1)
        t1[:5], t2[:, :5] = 0, 0
        first, second = (
            read_pixels(write_tiff(tmp_path / f'{n}.tif', image, nodata=0))
            for n, image in enumerate((t1, t2))
        )
        pair = join(first, second)
        expected = np.ones((48, 64), bool)
        expected[:5], expected[:, :5] = False, False
        assert np.array_equal(pair.valid, expected)
        for image, given in ((pair.t1, t1), (pair.t2, t2)):
            assert np.array_equal(image, given * expected[..., None])


class TestPairs:
    def pixels(self, path, image, **profile):
        return read_pixels(write_tiff(path, image, **profile))

    @pytest.mark.parametrize(
        ('crs', 'transform', 'told'),
        [
            ('EPSG:32633', GRID, False),
            ('EPSG:32633', from_origin(500_000.1, 5_000_000.1, 0.5, 0.5), False),  # a fifth of a pixel
            ('EPSG:32633', from_origin(500_000.5, 5_000_000, 0.5, 0.5), True),  # a pixel
            ('EPSG:32633', from_origin(500_000, 5_000_000, 0.6, 0.6), True),
            ('EPSG:32634', GRID, True),
            ('EPSG:25833', GRID, False),  # ETRS89, the same place to a centimetre here
            (None, None, False),
        ],
    )
    def test_georeference(self, tmp_path, crs, transform, told):
        t1 = self.pixels(tmp_path / 'a.tif', texture())
        t2 = self.pixels(tmp_path / 'b.tif', texture(), crs=crs, transform=transform)
        notes = notes_of(t1, t2, False)
        assert [note.kind for note in notes] == (['grid'] if told else [])
        if told:
            assert 'hsonet scene' in notes[0].text
            assert 'a.tif' in notes[0].text

    @pytest.mark.parametrize(('value', 'name'), [(0, 'black'), (255, 'white')])
    def test_border(self, tmp_path, value, name):
        framed = texture()
        framed[:, 40:] = value
        t1, t2 = self.pixels(tmp_path / 'a.tif', texture()), self.pixels(tmp_path / 'b.tif', framed)
        (note,) = notes_of(t1, t2, False)
        share = (48 + 2 * 24) / (2 * 48 + 2 * 64)
        assert note.text.startswith(f'{share:.0%} of the border of {tmp_path / "b.tif"} is {name} ({value})')
        assert f'--nodata {value}' in note.text
        assert notes_of(t1, t2, True) == []
        declared = self.pixels(tmp_path / 'c.tif', framed, nodata=value)
        assert notes_of(t1, declared, False) == []

    def test_depths(self, tmp_path):
        t1 = self.pixels(tmp_path / 'a.tif', texture())
        t2 = self.pixels(tmp_path / 'b.tif', texture().astype(np.uint16))
        with pytest.raises(
            UserError, match=r'a\.tif has uint8 and .*b\.tif uint16 values: .*--stretch 2%,98%'
        ):
            join(t1, t2)
        percent = Reading.make(stretch='2%,98%')
        t1, t2 = (read_pixels(str(tmp_path / f'{name}.tif'), percent) for name in 'ab')
        assert np.array_equal(*[getattr(join(t1, t2, percent.stretch), name) for name in ('t1', 't2')])
