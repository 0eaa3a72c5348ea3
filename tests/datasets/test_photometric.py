"""Photometric augmentation: what it does to colours, and to each date on its own."""

import numpy as np
import pytest

from hsonet_mm.datasets import MultiImgBrightnessContrast, MultiImgColourCast
from hsonet_mm.errors import UserError


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 (what the transforms draw from)


def grey(bands: int = 3) -> dict:
    return {'img': [np.full((4, 4, bands), 100, np.uint8) for _ in range(2)]}


@pytest.mark.parametrize('bands', [1, 3, 5])
def test_cast_multiplies_each_band_of_each_date(bands):
    seen = []
    for _ in range(200):
        images = MultiImgColourCast((0.8, 1.25), prob=1.0)(grey(bands))['img']
        for image in images:
            assert image.dtype == np.uint8
            assert (image == image[0, 0]).all()
        seen.append([image[0, 0] for image in images])
    gains = np.array(seen)
    assert gains.min() in range(80, 84)
    assert gains.max() in range(122, 126)
    flat = gains.reshape(200, -1)
    assert np.abs(np.corrcoef(flat.T) - np.eye(2 * bands)).max() < 0.3


def test_cast_is_cut_and_comes_with_its_probability():
    bright = {'img': [np.full((2, 2, 3), 250, np.uint8)] * 2}
    assert (MultiImgColourCast((1.2, 1.2), prob=1.0)(bright)['img'][0] == 255).all()
    cast = MultiImgColourCast((0.5, 0.5), prob=0.25)
    tinted = [image[0, 0, 0] == 50 for _ in range(200) for image in cast(grey())['img']]
    assert 0.18 < np.mean(tinted) < 0.32


def test_brightness_and_contrast():
    added = {
        image[0, 0, 0] for _ in range(50) for image in MultiImgBrightnessContrast(20, (1, 1))(grey())['img']
    }
    assert min(added) >= 80
    assert max(added) <= 120
    assert 100 in added
    scaled = {
        image[0, 0, 0]
        for _ in range(50)
        for image in MultiImgBrightnessContrast(0, (0.5, 0.5))(grey())['img']
    }
    assert scaled == {50, 100}


@pytest.mark.parametrize('options', [{'gain_range': (0, 1)}, {'gain_range': (2, 1)}, {'prob': 1.5}])
def test_invalid_cast(options):
    with pytest.raises(UserError, match='of MultiImgColourCast'):
        MultiImgColourCast(**options)
