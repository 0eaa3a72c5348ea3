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
from hsonet_mm.labels import (
    IGNORED,
    LabelCoding,
    RawLabel,
    classes_of,
    no_label,
    parse_values,
    raw_label,
    survey_labels,
)
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


def read_label(path: str, backend_args: dict[str, Any] | None = None) -> RawLabel:
    """Read a label as it stands in the file, see :func:`~hsonet_mm.labels.raw_label`.

    Args:
        path: The file.
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UserError: if the file cannot be read, or has values that are not whole numbers in 0..65535.
    """
    return raw_label(images.decode(path, _reader(backend_args)), path)


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

    What the values in the files mean is declared here, or else told by :class:`hsonet_mm.ChangeDataset`, which finds it
    out over its whole data set. With another data set, which does not, each file must tell it by itself: 0 and 1, or 0
    and 255, the latter perhaps with noise of compression.

    Required key: ``seg_map_path``; optional: ``label_coding``. Added keys: ``gt_seg_map`` of shape (H, W), and its name
    in ``seg_fields``.

    Args:
        changed_values: The values in the files that mean changed, all others meaning unchanged: numbers from 0 to
            65535, or ``'R,G,B'`` or names of colours. None: not declared.
        ignore_value: The value, or values, in the files that mean "not labelled"; they become 255. None: none.
        reduce_zero_label: Accepted for Open-CD's configs; a change label cannot do without its zero.
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UserError: naming the file, if it is not a change label of the size of the images, or there is none.
    """

    _noise_reported = False

    def __init__(
        self,
        changed_values: Any = None,
        ignore_value: Any = None,
        reduce_zero_label: bool | None = None,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        if reduce_zero_label:
            raise UserError('reduce_zero_label drops the class "unchanged": leave it out')
        self.changed_values, self.ignored_values = parse_values(changed_values), parse_values(ignore_value)
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the label to the sample."""
        path = results.get('seg_map_path')
        if path is None:
            raise no_label(results['img_path'][0])
        label = read_label(path, self.backend_args)
        rows, columns = results.get('ori_shape', label.values.shape)[:2]
        if label.values.shape[:2] != (rows, columns):
            raise UserError(
                f'the label {path} has {label.values.shape[0]} x {label.values.shape[1]} pixels (rows x columns), '
                f'its images have {rows} x {columns}: cut or resample it to the same ground'
            )
        coding = results.get('label_coding') or self._coding(label, path)
        classes = np.arange(256, dtype=np.uint8)
        for old, new in (results.get('label_map') or {}).items():
            classes[old] = new
        classes[IGNORED] = IGNORED
        results['gt_seg_map'] = classes[classes_of(label, coding, path)]
        results['seg_fields'].append('gt_seg_map')
        return results

    def _coding(self, label: RawLabel, path: str) -> LabelCoding:
        """As declared, or as the file tells by itself."""
        if self.changed_values:
            return LabelCoding(self.changed_values, None, self.ignored_values)
        coding = survey_labels({path: ''}, lambda _: label, (), self.ignored_values).require().coding
        if coding.lossy:
            self._report_noise(path)
        return coding

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
