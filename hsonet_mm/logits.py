"""Probabilities: their logits in single precision, and thresholds."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError

__all__ = ['LOGIT_LIMIT', 'check_threshold', 'logits_of']

LOGIT_LIMIT = 11.5
"""Logits are cut to this size: beyond, probabilities in single precision know nothing."""


def logits_of(probs: NDArray[Any]) -> NDArray[Any]:
    """Log odds of probabilities in [0, 1], cut to :data:`LOGIT_LIMIT`; of their shape and type."""
    with np.errstate(divide='ignore'):
        logits = np.log(probs) - np.log1p(-probs)
    return logits.clip(-LOGIT_LIMIT, LOGIT_LIMIT)


def check_threshold(threshold: float | None, owner: str = '') -> None:
    """Check that a threshold is a probability, or None; the error names its `owner`, if any."""
    if threshold is not None and not (isinstance(threshold, Real) and 0 < threshold < 1):
        of_owner = f' of {owner}' if owner else ''
        raise UserError(f'invalid threshold {threshold!r}{of_owner}: expected a value between 0 and 1')
