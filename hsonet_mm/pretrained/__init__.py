"""The packaged models: names, files, cards and runtimes."""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.exported.metadata import Metadata
from hsonet_mm.exported.onnx_file import read_props
from hsonet_mm.texts import threshold_text

__all__ = [
    'DEFAULT',
    'default_runtime',
    'model_card',
    'model_metadata',
    'model_names',
    'model_path',
    'model_title',
]

DEFAULT = 'buildings'
"""The model where nobody names one."""
FOLDER = Path(__file__).parent
"""Where they lie: ``NAME.onnx``, the model; ``NAME.md``, its card; ``NAME.json``, the figures measured with it."""
_NOT_MEASURED = 'Not measured yet.'


def model_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in FOLDER.glob('*.onnx'))


def model_path(name: str) -> Path:
    """The file of a model that comes with the package."""
    names = model_names()
    if name in names:
        return FOLDER / f'{name}.onnx'
    wanted = 'a config and its checkpoint, or an .onnx file'
    if not names:
        raise UserError(f"no model '{name}' comes with this installation: give {wanted}")
    raise UserError(f"invalid model '{name}': expected {' or '.join(names)}, {wanted}")


def default_runtime(device: str = 'cpu', precision: str = 'auto') -> str:
    """Default runtime of a model that PyTorch and ONNX Runtime can both run.

    ONNX Runtime, which starts and predicts faster on a CPU; PyTorch with its packages where ONNX Runtime is missing,
    for GPUs, and where a precision is asked for.

    Args:
        device: Where it computes.
        precision: Precision in PyTorch.
    """
    needed = ('torch', 'mmengine', 'mmcv', 'mmseg')
    faster = not device.startswith('cuda') and precision == 'auto' and find_spec('onnxruntime') is not None
    return 'onnxruntime' if faster or not all(find_spec(name) for name in needed) else 'pytorch'


def model_metadata(name: str) -> Metadata:
    """Metadata of a packaged model."""
    path = model_path(name)
    try:
        props = read_props(path.read_bytes())
    except ValueError:
        raise UserError(f'{path} is truncated or damaged: install hsonet_mm again') from None
    return Metadata.from_props(props, str(path))


def model_title(name: str) -> str:
    """Title of a model: the heading of its card."""
    return _text(name).splitlines()[0].lstrip('# ')


def model_card(name: str) -> str:
    """The card of a model, in Markdown.

    The text is that of ``NAME.md``; in the place of ``{facts}`` stands what the model says about itself, of
    ``{scores}`` and ``{perturbed}`` the figures of ``NAME.json``, and of ``{licence}`` the terms of the weights.
    """
    metadata = model_metadata(name)
    figures = json.loads((FOLDER / f'{name}.json').read_text(encoding='utf-8'))
    parts = {
        'facts': _facts(metadata, model_path(name)),
        'scores': _scores(figures['scores']),
        'perturbed': _perturbed(figures['perturbed']),
        'licence': metadata.licence or 'None are stated.',
    }
    text = _text(name)
    for key, value in parts.items():
        text = text.replace(f'{{{key}}}', value)
    return text


def _text(name: str) -> str:
    return (FOLDER / f'{name}.md').read_text(encoding='utf-8')


def _facts(metadata: Metadata, path: Path) -> str:
    low, high = metadata.ground_resolution or (None, None)
    reading = ', '.join(f'{key} {value}' for key, value in metadata.reading.items() if value is not None)
    rows = {
        'File': f'`{path.name}`, {path.stat().st_size / 1e6:.1f} MB, weights in half precision',
        'Exported from': metadata.name,
        'Input': f'{metadata.channels} bands per date, read {reading or "as the files say"}',
        'Ground resolution': 'not stated' if low is None else f'{low:g} to {high:g} m',
        'Training crops': f'{metadata.crop_size} x {metadata.crop_size} pixels, which is the default window',
        'Threshold': f'{threshold_text(metadata.threshold)} ({metadata.threshold_source})',
        'Calibration': 'none' if metadata.temperature == 1 else f'temperature {metadata.temperature:.4g}',
        'Versions': ', '.join(f'{package} {version}' for package, version in metadata.versions.items()),
    }
    return _table(('', ''), list(rows.items()))


def _scores(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return _NOT_MEASURED
    names = ('precision', 'recall', 'f1', 'iou')
    return _table(
        ('test data', 'pairs', 'threshold', 'precision', 'recall', 'F1', 'IoU'),
        [
            (
                row['data'],
                row['pairs'],
                f'{row["threshold"]:.3f}',
                *(f'{100 * row[name]:.2f}' for name in names),
            )
            for row in rows
        ],
    )


def _perturbed(tables: Sequence[Mapping[str, Any]]) -> str:
    if not tables:
        return _NOT_MEASURED
    names = list(dict.fromkeys(row['name'] for table in tables for row in table['rows']))
    found = [{row['name']: row for row in table['rows']} for table in tables]
    return _table(
        ('F1 of "changed" on', *(table['data'] for table in tables)),
        [(name, *(_of_perfect(one[name]) if name in one else '' for one in found)) for name in names],
    )


def _of_perfect(row: Mapping[str, Any]) -> str:
    """An F1, with that of a perfect map in brackets if below 1."""
    perfect = row['perfect_f1']
    return f'{100 * row["f1"]:.2f}' + (f' (perfect map {100 * perfect:.2f})' if perfect < 1 else '')


def _table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)
