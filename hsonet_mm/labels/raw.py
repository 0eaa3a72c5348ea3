"""Labels as stored in their files."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.images import Raster
from hsonet_mm.images.pixels import colours

__all__ = ['RawLabel', 'few_values', 'looks_lossy', 'raw_label', 'value_counts']


class RawLabel(NamedTuple):
    """A label as stored in its file.

    Attributes:
        values: (H, W) whole numbers, or (H, W, 3) uint8 colours.
        labelled: (H, W), False where the file itself says that there is nothing; None: everywhere something.
        exact: whether the values are those that were saved; False for JPEG.
        palette: (N, 3) colours of the values, where the file has some that are not grey.
    """

    values: NDArray
    labelled: NDArray[np.bool_] | None = None
    exact: bool = True
    palette: NDArray[np.uint8] | None = None


def raw_label(raster: Raster) -> RawLabel:
    """The values of a label as stored in the file.

    A palette image gives its colours if these are grey and else its indices with their colours; a colour image its
    grey, if the channels agree (in a JPEG: to 32 steps), and else its colours. What is transparent, masked or the
    file's nodata value is not labelled.
    """
    path, exact, labelled, palette = raster.header.path, not raster.lossy, raster.valid(), None
    values = colours(raster.values, raster.palette)
    if values.shape[2] not in (1, 3):
        raise UserError(f'the label {path} has {values.shape[2]} bands: keep only the one with the classes')
    if values.shape[2] == 1:
        values = values[..., 0]
    else:
        seen = values if labelled is None else values[labelled]
        spread = int((seen.max(axis=-1) - seen.min(axis=-1)).max(initial=0))
        if spread <= (0 if exact else 32):
            values = values[..., 1]
        elif raster.palette is not None:
            values, palette = raster.values[..., 0], raster.palette
    if values.dtype != np.uint8:
        seen = values if labelled is None else values[labelled]
        if seen.size and not (np.all(seen == np.floor(seen)) and seen.min() >= 0 and seen.max() <= 65535):
            raise UserError(
                f'the label {path} contains values from {seen.min():g} to {seen.max():g}: write 0 for '
                'unchanged and 1 or 255 for changed'
            )
        values = np.where(True if labelled is None else labelled, values, 0).astype(np.uint16)
        values = values.astype(np.uint8) if values.max(initial=0) < 256 else values
    return RawLabel(values, labelled, exact, palette)


def value_counts(label: RawLabel) -> NDArray[np.int64]:
    """Number of labelled pixels of each value of a one-band label, (256,) or longer."""
    values = label.values.ravel() if label.labelled is None else label.values[label.labelled]
    strips = np.array_split(values, 1 + values.size // 2**24)  # bincount takes 8 bytes a value
    length = 256 if label.values.dtype == np.uint8 else 65536
    return np.sum([np.bincount(strip, minlength=length) for strip in strips], axis=0)


def looks_lossy(counts: NDArray[np.int64], exact: bool) -> bool:
    """Whether a label looks like a mask of 0 and 255 with compression noise, which is thresholded at 128.

    At most 5 % of the pixels are in 64..191. Noise comes on both sides of an outline, so where something reaches 128,
    values of 1..63 that are more than 1 % of the pixels, and a hundred times as frequent as 192..254, are classes.
    Where nothing does, a file of exact values has none to cut; a JPEG of one value below 16 is black as its compression
    rounds it, and in another there are classes if more than 1 % of the pixels are above 1, or more than 5 % are 1. The
    limits are our choice.
    """
    shares = counts / max(1, counts.sum())
    if shares[:16].max() == 1 and not exact:
        return True
    if counts[128:].any():
        classes = shares[1:64].sum() > max(0.01, 100 * shares[192:255].sum())
    else:
        classes = exact or shares[2:].sum() > 0.01 or shares[1] > 0.05
    return bool(not classes and shares[64:192].sum() <= 0.05)


def few_values(counts: NDArray[np.int64]) -> bool:
    """Whether the values of a label between 0 and 255 are so few that they are classes rather than noise.

    Compression leaves noise below and above 128 alike, of at least three values where it is strong. A third class, or
    255 for "not labelled" beside 0 and 1, lies on one side; two more may be 85 and 170. The limits are our choice.
    """
    between = np.flatnonzero(counts[1:255]) + 1
    strong = ((between >= 16) & (between < 240)).any()
    return bool(
        between.max(initial=0) < 128 or between.min(initial=255) >= 128 or (strong and len(between) < 3)
    )
