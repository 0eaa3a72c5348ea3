"""Encoding of probabilities and masks in the files of a scene."""

import numpy as np
from numpy.typing import NDArray

__all__ = ['LAYER', 'MASK_NODATA', 'PROBS_NODATA', 'PROBS_SCALE', 'stored_probs']

PROBS_SCALE = 250
"""In 8 bits a probability of 1 is 250."""

PROBS_NODATA = 255
MASK_NODATA = 255

LAYER = 'changes'
"""Layer of the polygons in a GeoPackage."""


def stored_probs(probs: NDArray[np.float32], valid: NDArray[np.bool_], dtype: str) -> NDArray[np.generic]:
    """Probabilities as stored in a file, in 8 bits or float32, with nodata."""
    if dtype == 'float32':
        return np.where(valid, probs, np.float32(np.nan))
    return np.where(valid, np.rint(probs * PROBS_SCALE), PROBS_NODATA).astype(np.uint8)
