"""The calibration file of a model: temperature and threshold fitted on the validation split.

A network that ends training with small losses is sure of itself: its probabilities are too near to 0 and 1.
One temperature T mends that, sigmoid(logit / T) (Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017).
``hsonet calibrate`` fits it and writes ``<model file>.calibration.json``; this module, which needs NumPy only, reads
and applies it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.files import write_json
from hsonet_mm.logits import logits_of

__all__ = [
    'Calibration',
    'apply_temperature',
    'read_calibration',
    'sidecar_of',
    'write_calibration',
]

FORMAT = 'hsonet_mm calibration 1'


@dataclass(frozen=True)
class Calibration:
    """Contents of a calibration file.

    Attributes:
        temperature: Logits are divided by it; above 1 for a model that is too sure of itself.
        threshold: Calibrated probability above which a pixel is changed: the highest F1 on validation.
        name: What messages call it.
    """

    temperature: float
    threshold: float
    name: str = 'calibration'


def sidecar_of(model: str | Path) -> Path:
    """Path of the calibration file beside a model file."""
    model = Path(model)
    return model.with_name(f'{model.name}.calibration.json')


def read_calibration(model: str | Path) -> Calibration | None:
    """Read the calibration file of a checkpoint or an exported model; None if there is none."""
    path = sidecar_of(model)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if content['format'] != FORMAT:
            raise ValueError(f'its format is {content["format"]!r}')
        calibration = Calibration(float(content['temperature']), float(content['threshold']), path.name)
        digest = content['model_sha256']
        if not 0 < calibration.threshold < 1 or not 0 < calibration.temperature < np.inf:
            raise ValueError('its threshold or temperature is out of range')
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise UserError(
            f'the calibration {path} is damaged ({reason}): run `hsonet calibrate` again or delete it'
        ) from None
    if Path(model).is_file() and digest != file_digest(model):
        raise UserError(
            f'the calibration {path} was made for another file than {model}: '
            'run `hsonet calibrate` again or delete it'
        )
    return calibration


def write_calibration(model: str | Path, calibration: Calibration, report: dict[str, Any]) -> Path:
    """Write the calibration file of a model, with a report for people, and return its path."""
    path = sidecar_of(model)
    learnt = {'temperature': calibration.temperature, 'threshold': calibration.threshold}
    write_json(path, {'format': FORMAT, **learnt, 'model_sha256': file_digest(model), **report})
    return path


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def apply_temperature(probs: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Divide the logits of probabilities by a temperature; 1 changes nothing."""
    if temperature == 1:
        return probs
    return (1 / (1 + np.exp(-logits_of(probs) / np.float32(temperature)))).astype(np.float32)
