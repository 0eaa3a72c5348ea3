"""The stand-in's transforms: the contracts of Open-CD's."""

import pickle
import random

import numpy as np
import pytest
import torch
from resnet_baselines import needs_opencd, real

from hsonet_mm.opencd import transforms
from hsonet_mm.opencd.transforms import MultiImgRandomRotFlip

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 (what the transforms draw from)


def sample(rows: int = SIZE[0], columns: int = SIZE[1]) -> dict:
    """A sample whose pixels hold their row and column; the label is changed where both are even."""
    r, c = np.mgrid[:rows, :columns].astype(np.uint8)
    t1 = np.stack([r, c, r * 0], axis=2)
    return {
        'img': [t1, t1 + np.uint8(100)],
        'img_path': ['A/x.png', 'B/x.png'],
        'seg_map_path': 'label/x.png',
        'gt_seg_map': ((r % 2 == 0) & (c % 2 == 0)).astype(np.uint8),
        'seg_fields': ['gt_seg_map'],
        'img_shape': (rows, columns),
        'ori_shape': (rows, columns),
    }


def assert_aligned(results: dict) -> None:
    t1, t2 = results['img']
    np.testing.assert_array_equal(t2, t1 + np.uint8(100))
    np.testing.assert_array_equal(results['gt_seg_map'], (t1[..., 0] % 2 == 0) & (t1[..., 1] % 2 == 0))


class TestTransforms:
    def test_flip_exact(self):
        for direction, expected in (('horizontal', np.s_[:, ::-1]), ('vertical', np.s_[::-1])):
            results = transforms.MultiImgRandomFlip(prob=1.0, direction=direction).transform(sample())
            for after, before in zip(results['img'], sample()['img'], strict=True):
                np.testing.assert_array_equal(after, before[expected])
            np.testing.assert_array_equal(results['gt_seg_map'], sample()['gt_seg_map'][expected])
            assert results['flip'] is True
            assert results['flip_direction'] == direction

    def test_flip_is_shared_and_sometimes_none(self):
        flip = transforms.MultiImgRandomFlip(prob=0.5, direction='horizontal')
        results = [flip.transform(sample()) for _ in range(30)]
        for result in results:
            assert_aligned(result)
        assert {result['flip'] for result in results} == {True, False}

    def test_crop_is_shared(self):
        crop = transforms.MultiImgRandomCrop(crop_size=(8, 8))
        corners = set()
        for _ in range(20):
            results = crop.transform(sample())
            assert_aligned(results)
            assert results['img_shape'] == (8, 8)
            corners.add(tuple(results['img'][0][0, 0, :2].tolist()))
        assert len(corners) > 10

    def test_crop_avoids_one_category(self):
        shares = []
        for ratio in (1.0, 0.75):
            crop = transforms.MultiImgRandomCrop(crop_size=(8, 8), cat_max_ratio=ratio)
            found = 0
            for _ in range(40):
                before = sample()
                before['gt_seg_map'] = np.zeros(SIZE, np.uint8)
                before['gt_seg_map'][:8, :8] = 1
                found += crop.transform(before)['gt_seg_map'].mean() > 0.25
            shares.append(found / 40)
        assert shares[1] > 2 * shares[0]

    def test_rotation_is_shared(self):
        rotate = transforms.MultiImgRandomRotate(prob=1.0, degree=180, pad_val=0, seg_pad_val=255)
        before = sample()
        before['img'] = [np.full((*SIZE, 3), 9, np.uint8)] * 2
        before['gt_seg_map'][:] = 1
        results = rotate.transform(before)
        np.testing.assert_array_equal(results['img'][0], results['img'][1])
        outside = results['gt_seg_map'] == 255
        assert 0 < outside.sum() < outside.size
        assert (results['img'][0][outside] == 0).mean() > 0.8
        assert (results['img'][0][~outside] == 9).mean() > 0.8

    def test_resize(self):
        before = {**sample(), 'gt_seg_map': (sample()['img'][0][..., 0] >= 12).astype(np.uint8)}
        results = transforms.MultiImgResize(scale=(64, 48)).transform(before)
        assert [image.shape for image in results['img']] == [(48, 64, 3)] * 2
        assert results['scale_factor'] == (2.0, 2.0)
        np.testing.assert_array_equal(results['gt_seg_map'], np.mgrid[:48, :64][0] >= 24)

    def test_labels_loaded_after_the_resize_keep_their_size(self):
        before = {key: value for key, value in sample().items() if key != 'gt_seg_map'} | {'seg_fields': []}
        results = transforms.MultiImgResize(scale=(64, 64), keep_ratio=True).transform(before)
        assert results['img'][1].shape == (48, 64, 3)
        assert results['ori_shape'] == SIZE
        assert results['seg_fields'] == []

    def test_exchange(self):
        before = sample()
        np.testing.assert_array_equal(
            transforms.MultiImgExchangeTime(prob=1.0).transform(sample())['img'], before['img'][::-1]
        )
        np.testing.assert_array_equal(
            transforms.MultiImgExchangeTime(prob=0.0).transform(sample())['img'], before['img']
        )

    def test_photometric_distortion_is_independent_and_leaves_the_label(self):
        distort = transforms.MultiImgPhotoMetricDistortion()
        differ = 0
        for _ in range(10):
            before = sample()
            before['img'] = [np.full((8, 8, 3), (60, 120, 180), np.uint8)] * 2
            results = distort.transform(before)
            differ += (results['img'][0] != results['img'][1]).any()
            np.testing.assert_array_equal(results['gt_seg_map'], sample()['gt_seg_map'])
        assert differ >= 8

    @pytest.mark.parametrize('consistent', [True, False])
    def test_order_of_contrast(self, monkeypatch, consistent):
        distort = transforms.MultiImgPhotoMetricDistortion(consistent_contrast_mode=consistent)
        steps: list[str] = []
        for name in ('brightness', 'contrast', 'saturation', 'hue'):
            monkeypatch.setattr(distort, name, lambda image, name=name: steps.append(name) or image)
        orders = set()
        for _ in range(20):
            steps.clear()
            distort.transform(sample())
            assert steps[0] == steps[4] == 'brightness'
            orders.add((steps.index('contrast'), steps[4:].index('contrast')))
        assert orders == ({(1, 1), (3, 3)} if consistent else {(1, 1), (3, 3), (1, 3), (3, 1)})

    def test_pack(self):
        packed = transforms.MultiImgPackSegInputs().transform({**sample(), 'flip': True, 'unknown': 1})
        assert packed['inputs'].shape == (6, *SIZE)
        assert packed['inputs'].dtype == torch.uint8
        for channel, (date, band) in enumerate((d, b) for d in range(2) for b in range(3)):
            np.testing.assert_array_equal(packed['inputs'][channel], sample()['img'][date][..., band])
        truth = packed['data_samples']
        assert truth.gt_sem_seg.data.shape == (1, *SIZE)
        assert truth.gt_sem_seg.data.dtype == torch.int64
        assert truth.metainfo == {
            'img_path': ['A/x.png', 'B/x.png'],
            'seg_map_path': 'label/x.png',
            'img_shape': SIZE,
            'ori_shape': SIZE,
            'flip': True,
        }

    @pytest.mark.parametrize('bands', [1, 2, 4])
    @pytest.mark.parametrize(
        'transform',
        [
            transforms.MultiImgRandomRotate(prob=1.0, degree=40),
            transforms.MultiImgRandomCrop(crop_size=(8, 8)),
            transforms.MultiImgRandomFlip(prob=1.0),
            MultiImgRandomRotFlip(rotate_prob=1.0, pad_val=7),
            MultiImgRandomRotFlip(rotate_prob=0.0, flip_prob=1.0),
            transforms.MultiImgResize(scale=(64, 48)),
            transforms.MultiImgResize(scale=(64, 64), keep_ratio=True),
        ],
        ids=lambda one: type(one).__name__,
    )
    def test_any_number_of_bands(self, transform, bands):
        """Each band becomes what the first of three does, in pixels that are not made up."""
        before = sample()
        before['img'] = [np.repeat(image[..., :1], bands, axis=2) for image in before['img']]
        results = []
        for given in (before, sample()):
            seed(1)
            results.append(transform.transform(given))
        inside = results[1]['gt_seg_map'] != 255
        np.testing.assert_array_equal(results[0]['gt_seg_map'], results[1]['gt_seg_map'])
        for image, expected in zip(*(result['img'] for result in results), strict=True):
            assert image.shape == (*expected.shape[:2], bands)
            wanted = np.repeat(expected[..., :1], bands, axis=2)[inside].astype(int)
            # OpenCV interpolates two bands less exactly
            np.testing.assert_allclose(image[inside], wanted, rtol=0, atol=2)

    def test_they_pickle_after_use(self):
        crop = transforms.MultiImgRandomCrop(crop_size=8)
        crop.transform(sample())
        assert_aligned(pickle.loads(pickle.dumps(crop)).transform(sample()))


# --- MultiImgRandomRotFlip


def dotted(rows=24, columns=40):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (rows, columns), dtype=np.uint8)
    image = np.repeat(label[..., None] * np.uint8(200), 3, axis=2)
    return {
        'img': [image, image // 2],
        'gt_seg_map': label,
        'seg_fields': ['gt_seg_map'],
        'img_shape': label.shape,
    }


def seed(number):
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002


def test_flips_keep_images_and_labels_together():
    transform = MultiImgRandomRotFlip(rotate_prob=0, flip_prob=1)
    seen = set()
    for number in range(40):
        seed(number)
        result = transform(dotted())
        (t1, t2), label = result['img'], result['gt_seg_map']
        assert np.array_equal(t1[..., 0], label * 200)
        assert np.array_equal(t2[..., 0], label * 100)
        assert result['img_shape'] == label.shape
        assert t1.flags.c_contiguous
        seen.add(label.tobytes())
    assert len(seen) == 4  # a turn and a mirror; each of the four reflections in two ways


def test_rotation_fills_corners():
    seed(0)
    transform = MultiImgRandomRotFlip(rotate_prob=1, degree=(30, 40), pad_val=7, seg_pad_val=254)
    result = transform(dotted())
    assert set(np.unique(result['gt_seg_map'])) == {0, 1, 254}
    for image in result['img']:
        assert image[0, 0].tolist() == [7, 7, 7]
    assert result['gt_seg_map'][0, 0] == 254
    assert MultiImgRandomRotFlip(degree=10).degree == (-10, 10)


def test_rotated_samples_are_not_flipped_too():
    for probs, same in (((0, 0), True), ((1, 1), False)):
        seed(1)
        before, after = dotted(), MultiImgRandomRotFlip(*probs, degree=(0, 1e-6))(dotted())
        assert np.array_equal(before['gt_seg_map'], after['gt_seg_map'])
        assert not same or all(map(np.array_equal, before['img'], after['img']))


# --- beside the real Open-CD


class TestPartsAgainstOpenCD:
    pytestmark = needs_opencd

    @pytest.mark.parametrize(
        'kwargs', [{'rotate_prob': 1}, {'rotate_prob': 0, 'flip_prob': 1}, {'degree': 45}]
    )
    def test_random_rot_flip(self, kwargs):
        for number in range(8):
            results = []
            for cls in (real('MultiImgRandomRotFlip'), MultiImgRandomRotFlip):
                seed(number)
                results.append(cls(**kwargs).transform(dotted()))
            for key in ('img', 'gt_seg_map'):
                for one, other in zip(results[0][key], results[1][key], strict=True):
                    np.testing.assert_array_equal(one, other)
