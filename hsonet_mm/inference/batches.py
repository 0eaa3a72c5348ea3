"""Batches of image arrays: checks, and probabilities as a whole or by a sliding window."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.inference.models import ChangeModel
from hsonet_mm.memory import out_of_memory
from hsonet_mm.windows import Window, slide

__all__ = ['batch_probs', 'check_images', 'checked_batch']

ORDERS = ('rgb', 'bgr')


def check_images(images: NDArray[Any], bands: int, ndim: int = 4) -> None:
    """Check type and shape of a batch, (N, H, W, bands), or with `ndim` 3 of one image.

    Raises:
        UserError: for another type or shape.
    """
    if images.dtype != np.uint8 or images.ndim != ndim or images.shape[-1] != bands:
        number = 'number, ' if ndim == 4 else ''
        raise UserError(
            f'invalid images of shape {images.shape} and type {images.dtype}: expected arrays '
            f'({number}height, width, {bands}) of uint8'
        )


def checked_batch(
    t1: NDArray[np.uint8], t2: NDArray[np.uint8], bands: int, channel_order: str | None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Check a batch of two dates, (N, H, W, bands) each, and bring three bands to BGR.

    Raises:
        UserError: for another type, shape or order, dates that differ in size, and images without pixels.
    """
    for images in (t1, t2):
        check_images(images, bands)
        if np.ma.is_masked(images):
            raise UserError('images with masked pixels: give each pair to predict, or fill the pixels')
    if bands == 3 and channel_order not in ORDERS:
        raise UserError(
            f"invalid channel_order {channel_order!r}: expected 'rgb' for arrays of Pillow, rasterio or torchgeo, "
            "'bgr' for those of OpenCV"
        )
    if len(t1) != len(t2):
        raise UserError(
            f'the two dates are {len(t1)} and {len(t2)} images: give one of each date for every pair'
        )
    if t1.shape != t2.shape:
        sizes = [f'{images.shape[2]} x {images.shape[1]}' for images in (t1, t2)]
        raise UserError(
            f'the sizes of a pair differ ({" and ".join(sizes)} pixels): crop both to the same area and size'
        )
    if not t1.size:
        raise UserError('invalid images without pixels: expected at least 1 x 1')
    return (t1[..., ::-1], t2[..., ::-1]) if bands == 3 and channel_order == 'rgb' else (t1, t2)


def batch_probs(
    model: ChangeModel, t1: NDArray[np.uint8], t2: NDArray[np.uint8], window: Window | None
) -> NDArray[np.float32]:
    """Uncalibrated probabilities (N, H, W) of a checked batch, as a whole or by a sliding window.

    Raises:
        UserError: if the memory of machine or GPU does not suffice, or the model predicts NaN.
    """
    try:
        if window is None:
            probs = model.probs(t1, t2)
        else:
            probs = np.stack([slide(model.probs, one, two, window) for one, two in zip(t1, t2, strict=True)])
    except Exception as error:  # each library raises its own
        if not out_of_memory(error):
            raise
        n, height, width, _ = t1.shape
        if window is None:
            how, cure = '', 'give predict --mode slide, scene a smaller --tile or --batch, or smaller images'
        else:
            how = f'in windows of {window.size} x {window.size} '
            cure = 'give predict a smaller --crop, or use a machine with more memory'
        raise UserError(
            f'{n} x {width} x {height} pixels {how}do not fit into the memory of {model.device}: {cure}'
        ) from None
    if not np.isfinite(probs).all():
        raise UserError('the model predicts NaN because its training diverged: use an earlier checkpoint')
    return probs
