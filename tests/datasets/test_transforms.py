"""Augmentation of image pairs: the same for both dates and the label."""

import numpy as np
import pytest

from hsonet_mm.datasets import MultiImgBalancedCrop, MultiImgRandomRot90, MultiImgRandomScale
from hsonet_mm.errors import UserError


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 (what the transforms draw from)


def coordinates(rows: int = 20, columns: int = 30) -> dict:
    """A sample whose pixels hold their row and column; the label is changed where both are even."""
    r, c = np.mgrid[:rows, :columns].astype(np.uint8)
    t1 = np.stack([r, c, r * 0], axis=2)
    return {
        'img': [t1, t1 + np.uint8(100)],
        'img_path': ['a/x.png', 'b/x.png'],
        'gt_seg_map': ((r % 2 == 0) & (c % 2 == 0)).astype(np.uint8),
        'seg_fields': ['gt_seg_map'],
        'img_shape': (rows, columns),
    }


def assert_aligned(results: dict) -> None:
    """The same pixels in both dates and the label."""
    t1, t2 = results['img']
    np.testing.assert_array_equal(t2, t1 + np.uint8(100))
    np.testing.assert_array_equal(results['gt_seg_map'], (t1[..., 0] % 2 == 0) & (t1[..., 1] % 2 == 0))
    assert results['img_shape'] == t1.shape[:2] == results['gt_seg_map'].shape


class TestTransforms:
    def test_crop(self):
        for _ in range(20):
            results = MultiImgBalancedCrop((7, 9)).transform(coordinates())
            assert_aligned(results)
            assert results['img_shape'] == (7, 9)
            t1 = results['img'][0].astype(int)
            assert (np.diff(t1[..., 0], axis=0) == 1).all()
            assert (np.diff(t1[..., 1], axis=1) == 1).all()

    @pytest.mark.parametrize('pixel', [(0, 0), (10, 17), (19, 29)])
    def test_crop_holds_the_changed_pixel_anywhere(self, pixel):
        offsets = set()
        for _ in range(200):
            sample = coordinates()
            sample['gt_seg_map'] = np.zeros((20, 30), np.uint8)
            sample['gt_seg_map'][pixel] = 1
            results = MultiImgBalancedCrop(4, changed_prob=1.0).transform(sample)
            (offset,) = np.argwhere(results['gt_seg_map'])
            assert tuple(results['img'][0][tuple(offset)][:2]) == pixel
            offsets.add(tuple(offset.tolist()))
        assert len(offsets) == (16 if pixel == (10, 17) else 1)

    def test_crop_share_of_change(self):
        hits = 0
        for _ in range(300):
            sample = coordinates(64, 64)
            sample['gt_seg_map'] = np.zeros((64, 64), np.uint8)
            sample['gt_seg_map'][40, 40] = 1
            sample['gt_seg_map'][:, 0] = 255
            hits += (MultiImgBalancedCrop(8, changed_prob=0.5).transform(sample)['gt_seg_map'] == 1).any()
        assert 0.42 < hits / 300 < 0.62  # half, and a few by chance

    def test_crop_without_change_or_label(self):
        sample = coordinates()
        sample['gt_seg_map'][:] = 0
        assert MultiImgBalancedCrop(20, changed_prob=1.0).transform(sample)['img_shape'] == (20, 20)
        assert MultiImgBalancedCrop(5).transform({**coordinates(), 'seg_fields': []})['img_shape'] == (5, 5)
        sample = {key: value for key, value in coordinates().items() if not key.startswith(('gt', 'seg'))}
        assert MultiImgBalancedCrop(5, changed_prob=1.0).transform(sample)['img_shape'] == (5, 5)

    def test_crop_larger_than_the_image(self):
        with pytest.raises(UserError, match=r'crop of 21 x 21 .*image a/x.png of 20 x 30'):
            MultiImgBalancedCrop(21).transform(coordinates())

    @pytest.mark.parametrize('kwargs', [{'crop_size': 0}, {'crop_size': 4, 'changed_prob': 1.5}])
    def test_crop_arguments(self, kwargs):
        with pytest.raises(UserError, match='MultiImgBalancedCrop'):
            MultiImgBalancedCrop(**kwargs)

    def test_rotations(self):
        seen = set()
        for _ in range(60):
            results = MultiImgRandomRot90(prob=0.75, transpose_prob=0.5).transform(coordinates())
            assert_aligned(results)
            seen.add(results['img'][0][:2, :2, :2].tobytes())
        assert len(seen) == 8

    def test_rotation_probabilities(self):
        np.testing.assert_array_equal(
            MultiImgRandomRot90(prob=0, transpose_prob=1).transform(coordinates())['img'][0],
            coordinates()['img'][0].swapaxes(0, 1),
        )
        corners = {
            MultiImgRandomRot90(prob=1).transform(coordinates())['img'][0][0, 0, :2].tobytes()
            for _ in range(30)
        }
        assert corners == {bytes([0, 29]), bytes([19, 29]), bytes([19, 0])}
        with pytest.raises(UserError, match='between 0 and 1'):
            MultiImgRandomRot90(prob=2)

    def test_scale(self):
        rows = set()
        for _ in range(20):
            sample = coordinates(40, 60)
            sample['gt_seg_map'] = (np.mgrid[:40, :60][0] >= 20).astype(np.uint8)
            sample['img'] = [
                np.repeat(sample['gt_seg_map'][..., None] * np.uint8(value), 3, 2) for value in (100, 200)
            ]
            results = MultiImgRandomScale((0.5, 2.0)).transform(sample)
            t1, t2 = results['img']
            assert t1.shape[:2] == t2.shape[:2] == results['gt_seg_map'].shape == results['img_shape']
            assert abs(t1.shape[1] / t1.shape[0] - 1.5) < 0.06
            assert set(np.unique(results['gt_seg_map'])) == {0, 1}
            np.testing.assert_allclose(t1[..., 0] / 100, t2[..., 0] / 200, atol=0.01)
            assert np.mean((t1[..., 0] >= 50) == results['gt_seg_map']) > 0.95
            rows.add(t1.shape[0])
        assert 20 <= min(rows) < 30  # of 40 rows, by a factor of 0.5 to 2
        assert 50 < max(rows) <= 80

    @pytest.mark.parametrize('factor', [0.3, 0.55, 0.73, 1.37, 2, 2.6])
    def test_scale_leaves_the_label_where_the_image_is(self, factor):
        rows, columns = np.mgrid[:90, :120]
        disc = (np.hypot(rows - 40, columns - 70) <= 30).astype(np.uint8)
        sample = {'img': [np.repeat(disc[..., None] * np.uint8(200), 3, 2)] * 2}
        sample |= {'gt_seg_map': disc, 'seg_fields': ['gt_seg_map']}
        results = MultiImgRandomScale((factor, factor)).transform(sample)
        drawn, label = results['img'][0][..., 0] >= 100, results['gt_seg_map']
        assert set(np.unique(label)) == {0, 1}
        np.testing.assert_allclose(np.argwhere(label).mean(0), np.argwhere(drawn).mean(0), atol=0.1)

    @pytest.mark.parametrize('bands', [1, 2, 5])
    @pytest.mark.parametrize(
        'transform',
        [MultiImgBalancedCrop(8), MultiImgRandomRot90(1.0, 1.0), MultiImgRandomScale((0.5, 2.0))],
        ids=lambda one: type(one).__name__,
    )
    def test_any_number_of_bands(self, transform, bands):
        """Each band becomes what the first of three does."""
        sample = coordinates()
        sample['img'] = [np.repeat(image[..., :1], bands, axis=2) for image in sample['img']]
        results = []
        for given in (sample, coordinates()):
            np.random.seed(1)  # noqa: NPY002
            results.append(transform.transform(given)['img'])
        for image, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(image, np.repeat(expected[..., :1], bands, axis=2))

    def test_scale_leaves_room_for_the_crop(self):
        assert MultiImgRandomScale((0.1, 0.1), min_size=16).transform(coordinates())['img_shape'] == (16, 24)
        assert MultiImgRandomScale((0.1, 0.1), min_size=99).transform(coordinates())['img_shape'] == (20, 30)
        with pytest.raises(UserError, match='smallest <= largest'):
            MultiImgRandomScale((2.0, 1.0))

    def test_they_say_what_they_are(self):
        assert repr(MultiImgBalancedCrop(4)) == 'MultiImgBalancedCrop(crop_size=(4, 4), changed_prob=0.5)'
        assert repr(MultiImgRandomRot90()) == 'MultiImgRandomRot90(prob=0.75, transpose_prob=0.0)'
        assert repr(MultiImgRandomScale((1, 2))) == 'MultiImgRandomScale(scale_range=(1, 2), min_size=1)'
