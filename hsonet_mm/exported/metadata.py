"""Metadata of exported models, read without PyTorch and ONNX."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading

__all__ = ['CLASSES', 'INPUT', 'OUTPUT', 'STATE', 'Metadata']

INPUT, OUTPUT = 'pair', 'probs'
"""Names of the only input and output of an exported model."""
STATE = 'state_dict/'
"""What stands before the names of a network's weights in a model that PyTorch can load as well."""
CLASSES = ('unchanged', 'changed')
_KEY = 'hsonet_mm'
_FORMAT = 1
_DEEPNESS_OVERLAP = 15
"""Overlap of tiles that the QGIS plugin Deepness proposes for the model, in percent of the tile."""


@dataclass(frozen=True)
class Metadata:
    """Metadata of an exported model.

    Attributes:
        name: Config and checkpoint that it was exported from.
        threshold_source: Origin of the threshold, in words. Read from a file, it names none of the files of the
            training, which those who have the model alone do not have.
        temperature: Of the calibration, already in the graph; 1 without one.
        tile_size: Height and width that it takes, None for any.
        crop_size: Height and width of the crops that it was trained on, None where the config does not say.
        int8: Of a model in 8 bits: pairs of the validation split that were compared, and F1 there of the model before
            it was quantised (``f1_float``) and after (``f1``).
        reading: How the files that it was trained on were read, see :meth:`hsonet_mm.images.Reading.to_dict`.
        ground_resolution: Smallest and largest size of a pixel on the ground that it is for, in metres; None where
            nobody said.
        network: Of a model that PyTorch can load as well: ``model`` and ``default_scope`` of its config.
    """

    name: str
    threshold: float
    threshold_source: str
    temperature: float
    tile_size: int | None
    crop_size: int | None
    versions: dict[str, str]
    int8: dict[str, float] | None = None
    reading: dict[str, str | None] = field(default_factory=dict)
    ground_resolution: tuple[float, float] | None = None
    network: dict[str, Any] | None = None
    licence: str | None = None

    @property
    def channels(self) -> int:
        """Bands of one date."""
        return Reading.from_dict(self.reading).channels

    def bands(self) -> list[str]:
        """Names of the channels of the input."""
        reading = Reading.from_dict(self.reading)
        numbers = reading.bands or (1, 2, 3)
        names = ['red', 'green', 'blue'] if len(numbers) == 3 else [f'band {number}' for number in numbers]
        return [f'{name} {date}' for date in ('t1', 't2') for name in names]

    def to_props(self) -> dict[str, str]:
        """Key-value pairs for ``metadata_props``: ours under one key, and those that Deepness reads.

        Deepness gives a model bytes divided by 255, and then its standardisation: a deviation of 1 / 255 undoes that.
        """
        ours = {'format': _FORMAT, **asdict(self), 'classes': CLASSES, 'bands': self.bands()}
        deepness = {
            'model_type': 'Segmentor',
            'class_names': dict(enumerate(CLASSES)),
            'seg_thresh': self.threshold,
            'tiles_overlap': _DEEPNESS_OVERLAP,
            'standardization_mean': [0.0] * (2 * self.channels),
            'standardization_std': [1 / 255] * (2 * self.channels),
        }
        if size := self.tile_size or self.crop_size:
            deepness['tile_size'] = size
        return {key: json.dumps(value) for key, value in {_KEY: ours, **deepness}.items()}

    @classmethod
    def from_props(cls, props: Mapping[str, str], path: str) -> 'Metadata':
        """Read the output of :meth:`to_props`; ``path`` is the name of the file in messages."""
        if _KEY not in props:
            raise UserError(
                f'{path} was not written by `hsonet export`, so its inputs and outputs are unknown: '
                'export the model with it'
            )
        try:
            ours = json.loads(props[_KEY])
            if ours.pop('format') != _FORMAT:
                raise ValueError
            ours['threshold_source'] = _without_files(ours['threshold_source'])
            if ours.get('ground_resolution') is not None:
                ours['ground_resolution'] = tuple(map(float, ours['ground_resolution']))
            return cls(**{key: ours[key] for key in cls.__dataclass_fields__ if key in ours})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f'{path} was exported by another version of hsonet_mm: export it again') from None


def _without_files(source: str) -> str:
    """The origin of a threshold without the names of sidecar and checkpoint."""
    meaning = 'calibrated for the best F1 on validation pairs'
    return re.sub(r'calibrated \(.*\)', meaning, source).partition(', in ')[0]
