"""How labels are declared and read: values, colours, what is not labelled, and files that break the coding."""

import numpy as np
import pytest
from PIL import Image

from hsonet_mm.errors import UserError
from hsonet_mm.images import read_raster
from hsonet_mm.labels import IGNORED, LabelCoding, RawLabel, classes_of, parse_value, parse_values, raw_label

pytestmark = pytest.mark.any_host

CHANGED = np.zeros((32, 32), bool)
CHANGED[4:12, 6:20] = True
EXPECTED = CHANGED.astype(np.uint8)
RED = (255, 0, 0)


def picture(colours):
    """Background and changed pixels in two colours."""
    return np.array(colours, np.uint8)[EXPECTED]


def through(path, array, **kwargs):
    Image.fromarray(array).save(path, **kwargs)
    return raw_label(read_raster(str(path), every=True, name=path.name))


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (2, 2),
        ('2', 2),
        (65535, 65535),
        ('255,0,0', RED),
        ('255, 0, 0', RED),
        ([255, 0, 0], RED),
        ('red', RED),
        ('#FF0000', RED),
    ],
)
def test_values_as_users_write_them(given, expected):
    assert parse_value(given) == expected


@pytest.mark.parametrize('given', ['crimsonish', '1,2', '256,0,0', -1, 65536, 1.5, True, '', [1, 2], None])
def test_values_that_are_none(given):
    with pytest.raises(
        UserError, match=r'invalid label value .*: expected a number from 0 to 65535, R,G,B or'
    ):
        parse_value(given)


def test_one_value_or_several():
    assert parse_values(None) == ()
    assert parse_values(7) == (7,)
    assert parse_values('255,0,0') == (RED,)
    assert parse_values([1, '2', 'red']) == (1, 2, RED)


def test_a_value_has_one_meaning():
    with pytest.raises(UserError, match='255 has two meanings'):
        LabelCoding((255,), None, (255,))


@pytest.mark.parametrize(('values', 'dtype'), [((2, 5), np.uint8), ((300,), np.uint16), ((1,), np.float32)])
def test_declared_values(tmp_path, values, dtype):
    label = through(tmp_path / 'x.tif', (CHANGED * values[-1]).astype(dtype))
    np.testing.assert_array_equal(classes_of(label, LabelCoding(values, None), 'x'), EXPECTED)


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
@pytest.mark.parametrize(
    ('colours', 'changed'),
    [
        ([(0, 0, 0), RED], RED),
        ([(255, 255, 255), RED], RED),
        ([(0, 255, 0), (0, 0, 255)], (0, 0, 255)),
        ([(255, 255, 255), (0, 0, 0)], (0, 0, 0)),
    ],
)
def test_declared_colours(tmp_path, suffix, colours, changed):
    kwargs = {'quality': 95, 'subsampling': 0} if suffix == 'jpg' else {}
    label = through(tmp_path / f'x.{suffix}', picture(colours), **kwargs)
    unchanged = (colours[0],) if suffix == 'jpg' else None  # a JPEG has no "all others" but black and white
    assert (classes_of(label, LabelCoding((changed,), unchanged), 'x') != EXPECTED).mean() < 0.01


def test_jpeg_of_a_colour_that_nothing_names_stops(tmp_path):
    label = through(tmp_path / 'x.jpg', picture([(0, 255, 0), RED]), quality=95)
    with pytest.raises(UserError, match=r'x\.jpg contains .* more than noise'):
        classes_of(label, LabelCoding((RED,), None), 'x.jpg')


def test_values_of_a_jpeg_that_cannot_be_told_apart_stop(tmp_path):
    label = through(tmp_path / 'x.jpg', EXPECTED * np.uint8(2), quality=95)
    for coding in (LabelCoding((1,)), LabelCoding((2, 3), None)):
        with pytest.raises(UserError, match=r'x\.jpg is a JPEG, whose values are not exact: save it as png'):
            classes_of(label, coding, 'x.jpg')


def test_palette_by_index_or_by_colour(tmp_path):
    image = Image.fromarray(EXPECTED * np.uint8(3), mode='P')
    image.putpalette([0, 0, 0, 9, 9, 9, 7, 7, 9, *RED])
    image.save(tmp_path / 'x.png')
    label = raw_label(read_raster(str(tmp_path / 'x.png'), every=True))
    for value in (3, RED):
        np.testing.assert_array_equal(classes_of(label, LabelCoding((value,), None), 'x'), EXPECTED)


@pytest.mark.parametrize('mode', ['RGBA', 'LA'])
def test_what_is_transparent_is_not_labelled(tmp_path, mode):
    array = np.zeros((32, 32, 4), np.uint8)
    array[..., :3] = (CHANGED * 255)[..., None]
    array[:20, :, 3] = 255
    Image.fromarray(array).convert(mode).save(tmp_path / 'x.png')
    label = raw_label(read_raster(str(tmp_path / 'x.png'), every=True))
    expected = EXPECTED.copy()
    expected[20:] = IGNORED
    np.testing.assert_array_equal(classes_of(label, LabelCoding(), 'x.png'), expected)


def test_ignored_values_and_those_without_a_meaning():
    values = EXPECTED * np.uint8(255)
    values[20:] = 7
    expected = np.where(values == 7, IGNORED, EXPECTED)
    np.testing.assert_array_equal(classes_of(RawLabel(values), LabelCoding(ignored=(7,)), 'x'), expected)
    with pytest.raises(
        UserError, match=r'the label x\.png contains 7, but the labels of this data set are coded 0/255'
    ):
        classes_of(RawLabel(values), LabelCoding(), 'x.png')


def test_one_stray_pixel_stops_and_empties_nothing():
    values = EXPECTED.copy()
    values[30, 30] = 2
    with pytest.raises(UserError, match=r'x\.png contains 2, .* coded 0/1, as labels\.json says'):
        classes_of(RawLabel(values), LabelCoding((1,), written='labels.json'), 'x.png')
