"""A made-up data set to be checked, and what is found in it."""

import cv2
import numpy as np

from hsonet_mm.preparation.check import check_dataset

SPLITS = {'train': 6, 'val': 3, 'test': 3}


def ground(seed, size=128):
    """Fields, roofs and grain: as much structure as an aerial image has, different for every seed."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3), np.float32)
    for cells, height in ((4, 40), (16, 30), (64, 15)):
        noise = rng.standard_normal((cells, cells, 3)).astype(np.float32) * height
        image += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    image += 120
    for _ in range(25):
        y, x = rng.integers(0, size - 12, 2)
        h, w = rng.integers(5, 12, 2)
        image[y : y + h, x : x + w] = rng.integers(60, 220)
    return np.clip(image, 0, 255).astype(np.uint8)


def plain(seed, size=128):
    """A field: one shade with a slope of light and faint grain."""
    rng = np.random.default_rng(seed)
    light = np.linspace(0, 25, size, dtype=np.float32)[:, None, None]
    return np.clip(100 + light + rng.normal(0, 3, (size, size, 3)), 0, 255).astype(np.uint8)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def label_of(seed, size=128, high=255):
    label = np.zeros((size, size), np.uint8)
    if seed % 3:
        label[10 : 10 + 4 * (seed % 12), 20:60] = high
    return label


def check(root, **kwargs):
    """The findings as (level, kind) and their messages."""
    report = check_dataset(root, crop=kwargs.pop('crop', 64), **kwargs)
    return [(f.level, f.kind) for f in report.findings], [f.message for f in report.findings]


def only(root, level, kind, **kwargs):
    """The message of the one finding there must be."""
    kinds, messages = check(root, **kwargs)
    assert kinds == [(level, kind)], messages
    return messages[0]


def altered(image, turn, flip, crop, gain, offset):
    """A copy that was turned, flipped, cropped and resized, brightened and saved as JPEG."""
    size = image.shape[0]
    side = round(size * crop)
    begin = (size - side) // 3
    part = np.rot90(image[begin : begin + side, begin : begin + side], turn)
    part = cv2.resize(np.ascontiguousarray(part[:, ::-1] if flip else part), (size, size))
    part = np.clip(part * gain + offset, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode('.jpg', part, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_COLOR)
