"""Logits of probabilities that are stored in single precision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ['LOGIT_LIMIT', 'logits_of']

LOGIT_LIMIT = 11.5
"""Logits are cut to this size: beyond, probabilities in single precision know nothing."""


def logits_of(probs: NDArray[Any]) -> NDArray[Any]:
    """Log odds of probabilities in [0, 1], cut to :data:`LOGIT_LIMIT`; of their shape and type."""
    with np.errstate(divide='ignore'):
        logits = np.log(probs) - np.log1p(-probs)
    return logits.clip(-LOGIT_LIMIT, LOGIT_LIMIT)
