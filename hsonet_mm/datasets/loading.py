"""Reading image pairs and change labels from files, with a clear error for each problem."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import print_log

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading, join, read_pixels, read_raster, to_bgr
from hsonet_mm.images.pixels import stretch_note
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

__all__ = [
    'MultiImgLoadAnnotations',
    'MultiImgLoadImageFromFile',
    'read_label',
    'tell_once',
]


def _reader(path: str, backend_args: dict[str, Any] | None) -> Callable[[str], bytes] | None:
    """A function that reads a file by MMEngine's file backend; None for a file on the disk, which GDAL reads itself."""
    if backend_args is None and '://' not in path:
        return None
    return partial(fileio.get, backend_args=backend_args)


def read_label(path: str, backend_args: dict[str, Any] | None = None) -> RawLabel:
    """Read a label as stored in the file, see :func:`~hsonet_mm.labels.raw_label`."""
    return raw_label(read_raster(path, _reader(path, backend_args), every=True))


_told: set[str] = set()


def tell_once(text: str, kind: str = '', level: int = logging.WARNING) -> None:
    """Log a message once per process, or the first message of a kind."""
    if (key := kind or text) not in _told:
        _told.add(key)
        print_log(text, logger='current', level=level)


@TRANSFORMS.register_module()
class MultiImgLoadImageFromFile(BaseTransform):
    """Load the images of both dates.

    Required key: ``img_path``, a list of two; ``reading``, a :class:`~hsonet_mm.images.Reading`, if the data set
    declares one. Added keys: ``img``, a list of two arrays of shape (H, W, bands), three bands in BGR; ``img_shape``
    and ``ori_shape``, (H, W); ``valid``, (H, W), where both dates have data, if they have not everywhere. Elsewhere
    both are 0, and :class:`MultiImgLoadAnnotations` makes the label 255.

    Args:
        to_float32: Whether to return float32 instead of 8-bit images.
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UserError: naming the file, if one cannot be read or the sizes or types differ.
    """

    def __init__(self, to_float32: bool = False, backend_args: dict[str, Any] | None = None) -> None:
        self.to_float32 = to_float32
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the images to the sample."""
        reading = results.get('reading') or Reading()
        t1, t2 = (
            read_pixels(path, reading.of_date(date), _reader(path, self.backend_args))
            for date, path in enumerate(results['img_path'])
        )
        shape = t1.values.shape[:2]
        if shape != t2.values.shape[:2]:
            raise UserError(
                f'the sizes of a pair differ: {t1.path} has {shape[0]} x {shape[1]} pixels '
                f'(rows x columns), {t2.path} has {t2.values.shape[0]} x {t2.values.shape[1]}: resample to one grid'
            )
        pair = join(t1, t2, reading.stretch)
        if note := stretch_note(t1, reading):
            tell_once(note.text, note.kind)
        images = [to_bgr(pair.t1), to_bgr(pair.t2)]
        results['img'] = [image.astype(np.float32) for image in images] if self.to_float32 else images
        results['img_shape'] = results['ori_shape'] = shape
        if pair.valid is not None:
            results['valid'] = pair.valid
        return results


@TRANSFORMS.register_module()
class MultiImgLoadAnnotations(BaseTransform):
    """Load a change label as 0 (unchanged), 1 (changed) and 255 (ignored, or no data in label or images).

    The meaning of the values is declared here, or inferred by :class:`hsonet_mm.ChangeDataset` from its whole data set.
    Other data set classes do not infer it: each file must then contain 0 and 1, or 0 and 255, the latter possibly with
    compression noise.

    Required key: ``seg_map_path``; optional: ``label_coding``. Added keys: ``gt_seg_map`` of shape (H, W), and its name
    in ``seg_fields``.

    Args:
        changed_values: The values in the files that mean changed, all others meaning unchanged: numbers from 0 to
            65535, or ``'R,G,B'`` or names of colours. None: not declared.
        ignore_value: The value, or values, in the files that mean "not labelled"; they become 255. None: none.
        reduce_zero_label: Accepted for Open-CD's configs; must not be true, because 0 is the class "unchanged".
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UserError: naming the file, if it is missing, not a change label, or not of the size of the images.
    """

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
                f'its images have {rows} x {columns}: crop or resample it to the same area'
            )
        coding = results.get('label_coding') or self._coding(label, path)
        classes = np.arange(256, dtype=np.uint8)
        for old, new in (results.get('label_map') or {}).items():
            classes[old] = new
        classes[IGNORED] = IGNORED
        label_map = classes[classes_of(label, coding, path)]
        if 'valid' in results:
            label_map[~results['valid']] = IGNORED
        results['gt_seg_map'] = label_map
        results['seg_fields'].append('gt_seg_map')
        return results

    def _coding(self, label: RawLabel, path: str) -> LabelCoding:
        """As declared, or as the file itself shows."""
        if self.changed_values:
            return LabelCoding(self.changed_values, None, self.ignored_values)
        coding = survey_labels({path: ''}, lambda _: label, (), self.ignored_values).require().coding
        if coding.lossy:
            tell_once(
                f'the label {path} contains values between 0 and 255, as JPEG compression leaves them; such labels are '
                'thresholded at 128',
                'noise',
            )
        return coding
