"""Reading image pairs and change labels from files, with a clear sentence for whatever is wrong."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import print_log
from numpy.typing import NDArray

from hsonet_mm import images
from hsonet_mm.errors import UserError
from hsonet_mm.labels import find_changed, label_values, no_label
from hsonet_mm.registry import TRANSFORMS

__all__ = ['MultiImgLoadAnnotations', 'MultiImgLoadImageFromFile', 'read_image', 'read_label']


def _reader(backend_args: dict[str, Any] | None) -> Callable[[str], bytes]:
    """How MMEngine's file backend reads a file."""
    return partial(fileio.get, backend_args=backend_args)


def read_image(path: str, backend_args: dict[str, Any] | None = None) -> NDArray[np.uint8]:
    """Read an image of one or three bands.

    Args:
        path: The file.
        backend_args: Arguments of MMEngine's file backend.

    Returns:
        Array of shape (H, W, 3) in the order blue, green, red; a grey image is repeated. An alpha band is
        dropped if it is opaque everywhere.

    Raises:
        UserError: if the file cannot be read, is cut off, has more than three bands or more than 8 bits a
            band.
    """
    return images.read_image(path, _reader(backend_args))


def read_label(path: str, backend_args: dict[str, Any] | None = None) -> tuple[NDArray[np.uint8], bool]:
    """Read the values of a label as they stand in the file, see :func:`~hsonet_mm.labels.label_values`.

    Args:
        path: The file.
        backend_args: Arguments of MMEngine's file backend.

    Returns:
        Array of shape (H, W), and whether the file is a JPEG, whose values are never exact.

    Raises:
        UserError: if the file cannot be read, is coloured, or has values that are not whole numbers in
            0..255.
    """
    image = images.decode(path, _reader(backend_args))
    return label_values(image, path), image.format == 'JPEG'


@TRANSFORMS.register_module()
class MultiImgLoadImageFromFile(BaseTransform):
    """Load the images of both dates.

    Required key: ``img_path``, a list of two. Added keys: ``img``, a list of two arrays of shape (H, W, 3)
    in BGR; ``img_shape`` and ``ori_shape``, (H, W).

    Args:
        to_float32: Whether to give 32-bit floating point instead of 8-bit images.
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UserError: naming the file, if one cannot be read or the sizes differ.
    """

    def __init__(self, to_float32: bool = False, backend_args: dict[str, Any] | None = None) -> None:
        self.to_float32 = to_float32
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the images to the sample."""
        path_t1, path_t2 = results['img_path']
        t1, t2 = read_image(path_t1, self.backend_args), read_image(path_t2, self.backend_args)
        if t1.shape != t2.shape:
            raise UserError(
                f'the sizes of a pair differ: {path_t1} has {t1.shape[0]} x {t1.shape[1]} pixels '
                f'(rows x columns), {path_t2} has {t2.shape[0]} x {t2.shape[1]}: bring them to one grid'
            )
        results['img'] = [t1.astype(np.float32), t2.astype(np.float32)] if self.to_float32 else [t1, t2]
        results['img_shape'] = results['ori_shape'] = t1.shape[:2]
        return results


@TRANSFORMS.register_module()
class MultiImgLoadAnnotations(BaseTransform):
    """Load a change label as 0 (unchanged), 1 (changed) and 255 (ignored).

    How "changed" is written is told from the file, see :func:`~hsonet_mm.labels.find_changed`.

    Required key: ``seg_map_path``. Added keys: ``gt_seg_map`` of shape (H, W), and its name in
    ``seg_fields``.

    Args:
        ignore_value: The value in the files that means "not labelled"; it becomes 255. None if there is none.
        reduce_zero_label: Accepted for Open-CD's configs; a change label cannot do without its zero.
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UserError: naming the file, if it is not a change label of the size of the images, or there is none.
    """

    _noise_reported = False

    def __init__(
        self,
        ignore_value: int | None = None,
        reduce_zero_label: bool | None = None,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        if reduce_zero_label:
            raise UserError('reduce_zero_label drops the class "unchanged": leave it out')
        self.ignore_value = ignore_value
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the label to the sample."""
        path = results.get('seg_map_path')
        if path is None:
            raise no_label(results['img_path'][0])
        values, jpeg = read_label(path, self.backend_args)
        rows, columns = results.get('ori_shape', values.shape)[:2]
        if values.shape != (rows, columns):
            raise UserError(
                f'the label {path} has {values.shape[0]} x {values.shape[1]} pixels (rows x columns), '
                f'its images have {rows} x {columns}: cut or resample it to the same ground'
            )
        valid = np.full(values.shape, True) if self.ignore_value is None else values != self.ignore_value
        classes = np.arange(256, dtype=np.uint8)
        for old, new in (results.get('label_map') or {}).items():
            classes[old] = new
        cure = 'give MultiImgLoadAnnotations ignore_value, where one of them means "not labelled"'
        changed, coding = find_changed(values, jpeg, path, cure, valid)
        if coding == 'noisy':
            self._report_noise(path)
        results['gt_seg_map'] = np.where(valid, classes[changed.astype(np.uint8)], np.uint8(255))
        results['seg_fields'].append('gt_seg_map')
        return results

    @classmethod
    def _report_noise(cls, path: str) -> None:
        """Warn once a process that a label is not clean."""
        if not cls._noise_reported:
            cls._noise_reported = True
            print_log(
                f'the label {path} holds values between 0 and 255, as JPEG compression leaves them; '
                f'it and its like are cut at 128',
                logger='current',
                level=logging.WARNING,
            )
