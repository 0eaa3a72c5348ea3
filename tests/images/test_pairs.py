"""What is told of a pair whose files do not belong together, and what is black in it."""

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import from_origin
from rasters import GRID, texture, write_tiff

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading, check_overlap, join, notes_of, read_pixels

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

    @pytest.mark.parametrize(
        ('transform', 'told'),
        [
            (
                from_origin(500_000, 5_000_002, 0.5, 0.5),
                'from (500000, 5000000) and from (500000, 5000002) in EPSG:32633 (they differ by 0 columns, 4 rows)',
            ),
            (
                from_origin(500_000.3, 5_000_000, 0.5, 0.5),
                'and from (500000.3, 5000000) in EPSG:32633 (they differ by 0.6 columns, 0 rows), and',
            ),
            (from_origin(500_000, 5_000_000, 0.6, 0.6), 'and from (500000, 5000000) in EPSG:32633, and'),
        ],
    )
    def test_offset(self, tmp_path, transform, told):
        t1 = self.pixels(tmp_path / 'a.tif', texture())
        t2 = self.pixels(tmp_path / 'b.tif', texture(), transform=transform)
        (note,) = notes_of(t1, t2, False)
        assert told in note.text

    @pytest.mark.parametrize(
        ('crs', 'left', 'apart'),
        [
            ('EPSG:32633', 500_031, False),
            ('EPSG:32633', 500_033, True),
            ('EPSG:4326', 10, False),
            ('EPSG:4326', 370, False),  # a turn
            ('EPSG:4326', 50, True),
        ],
    )
    def test_no_overlap(self, tmp_path, crs, left, apart):
        start = 500_000 if crs == 'EPSG:32633' else 10
        t1, t2 = (
            self.pixels(tmp_path / f'{x}.tif', texture(), crs=crs, transform=from_origin(x, 50, 0.5, 0.5))
            for x in (start, left)
        )
        if not apart:
            check_overlap(t1.raster, t2.raster)
            return
        with pytest.raises(UserError, match=rf'{start}\.tif and .*{left}\.tif do not overlap: in {crs}'):
            check_overlap(t1.raster, t2.raster)

    def test_bands(self, tmp_path):
        Image.fromarray(texture()).quantize(16).save(tmp_path / 'palette.png')
        Image.fromarray(texture()[..., 0]).save(tmp_path / 'grey.png')
        colour = self.pixels(tmp_path / 'a.tif', texture(), crs=None)
        palette, grey = (read_pixels(str(tmp_path / f'{name}.png')) for name in ('palette', 'grey'))
        assert notes_of(palette, colour, False) == []
        (note,) = notes_of(grey, colour, False)
        assert note.text.startswith(f'{grey.path} has 1 band and {colour.path} 3: check')

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

    def test_border_of_a_palette(self, tmp_path):
        """Its first colour is no black."""
        picture = Image.fromarray(np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) // 64, 'P')
        picture.putpalette([90, 90, 90, 120, 90, 60, 60, 90, 120, 70, 70, 70])
        picture.save(tmp_path / 'palette.png')
        palette = read_pixels(str(tmp_path / 'palette.png'))
        assert notes_of(palette, palette, False) == []

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
