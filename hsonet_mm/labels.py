"""Change labels in files, whatever way they are written: the rules that training and the data tools share."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hsonet_mm.errors import UserError

__all__ = ['find_changed', 'label_values', 'no_label']


def label_values(image: Image.Image, path: str) -> NDArray[np.uint8]:
    """The values of a label as they stand in the file.

    A palette image gives its colours if these are grey and else its indices; a colour image its grey, if the channels
    agree (in a JPEG: to 32 steps).

    Args:
        image: The decoded file.
        path: What messages call it.

    Returns:
        Array of shape (H, W).

    Raises:
        UserError: if the file is coloured, or has values that are not whole numbers in 0..255.
    """
    mode = image.mode
    if mode in ('1', 'LA'):
        image = image.convert('L')
    values = np.asarray(image if mode not in ('P', 'PA', 'RGBA') else image.convert('RGB'))
    if values.ndim == 3:
        spread = int((values.max(axis=2) - values.min(axis=2)).max())
        if spread <= (32 if image.format == 'JPEG' else 0):
            values = values[..., 1]
        elif mode == 'P':
            values = np.asarray(image)
        else:
            raise UserError(
                f'the label {path} is a colour image: write it as a grey image with 0 for unchanged and 1 or 255 for '
                f'changed'
            )
    if values.dtype != np.uint8 and not np.isin(values, range(256)).all():
        raise UserError(
            f'the label {path} holds values from {values.min():g} to {values.max():g}: write 0 for unchanged and 1 or '
            f'255 for changed'
        )
    return values.astype(np.uint8)


def find_changed(
    values: NDArray[np.uint8], jpeg: bool, path: str, cure: str, valid: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.bool_], str]:
    """Tell from the values of a label how "changed" is written, and find it.

    Values 0 and 1, and values 0 and 255, are taken as they are. Other values are cut at 128 if the file looks like a
    binary mask with compression noise: at most 5 % of the pixels in 64..191, and what is nearly black is noise as well.
    Noise comes on both sides of an outline, so where something reaches 128, values of 1..63 that are more than 1 % of
    the pixels, and a hundred times as frequent as 192..254, are classes; where nothing does, they are if more than 1 %
    of the pixels are above 1, or more than 5 % are 1. A JPEG is never taken as 0 and 1. The limits are our choice.

    Args:
        values: Of the label, (H, W).
        jpeg: Whether the file is a JPEG, whose values are never exact.
        path: What messages call the file.
        cure: What else messages advise than other values.
        valid: Which pixels are labelled; None means all.

    Returns:
        Where something changed, (H, W), and how it is written: ``'empty'`` (all 0), ``'0/1'``, ``'0/255'`` or
        ``'noisy'``.

    Raises:
        UserError: if it is no change label.
    """
    labelled = values.ravel() if valid is None else values[valid]
    strips = np.array_split(labelled, 1 + labelled.size // 2**24)  # bincount takes 8 bytes a value
    counts = np.sum([np.bincount(strip, minlength=256) for strip in strips], axis=0)
    present = set(np.flatnonzero(counts).tolist())
    if present <= {0, 1} and not jpeg:
        return values == 1, '0/1' if 1 in present else 'empty'
    coding = '0/255' if present <= {0, 255} else 'noisy'
    what = ''
    if present == {0, 1, 255} and not jpeg:
        what = '0, 1 and 255'
    elif coding == 'noisy':
        shares = counts / labelled.size
        if counts[128:].any():
            classes = shares[1:64].sum() > max(0.01, 100 * shares[192:255].sum())
        else:
            classes = shares[2:].sum() > 0.01 or shares[1] > 0.05
        if classes or shares[64:192].sum() > 0.05:
            first = ', '.join(map(str, sorted(present)[:5]))
            what = f'the values {first}' + (f' and more up to {max(present)}' if len(present) > 5 else '')
    if what:
        raise UserError(
            f'the label {path} holds {what}: write 0 for unchanged and 1 or 255 for changed, or {cure}'
        )
    return values >= 128, 'empty' if present <= {0} else coding


def no_label(image: str) -> UserError:
    """The mistake of an image that comes without a label to where one is needed."""
    return UserError(
        f'{image} comes without a label: give seg_map_path in data_prefix and load it with '
        'hsonet_mm.MultiImgLoadAnnotations, or use hsonet predict'
    )
