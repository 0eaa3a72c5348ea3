"""``tools/pack_model.py``: add a trained model to the package, for maintainers."""

import argparse
from pathlib import Path

from hsonet_mm import pretrained
from hsonet_mm.errors import UserError
from hsonet_mm.export.pipeline import export
from hsonet_mm.texts import threshold_text

__all__ = ['MOST_BYTES', 'add_arguments', 'run']

MOST_BYTES = 9_000_000
"""Largest file that goes into the package."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``tools/pack_model.py``."""
    parser.add_argument('name', help='name of the model; NAME.md and NAME.json are its card and its figures')
    parser.add_argument('config', type=Path, help='config file that the model was trained with')
    parser.add_argument(
        'checkpoint', type=Path, help='its checkpoint; threshold and calibration go into the file'
    )
    parser.add_argument(
        '--ground-resolution',
        type=float,
        nargs=2,
        required=True,
        metavar='METRES',
        help='smallest and largest size of a pixel on the ground that it is for',
    )


def run(args: argparse.Namespace) -> int:
    """Run ``tools/pack_model.py``; on an error the file in the package is unchanged. Returns the exit code."""
    folder = pretrained.FOLDER
    target, card = folder / f'{args.name}.onnx', folder / f'{args.name}.md'
    for path in (card, card.with_suffix('.json')):
        if not path.is_file():
            raise UserError(
                f'{path} does not exist: write the model card and its results first, as for the packaged '
                'models'
            )
    low, high = args.ground_resolution
    metadata, difference = export(
        args.config,
        args.checkpoint,
        target,
        fp16=True,
        ground_resolution=(low, high),
        licence=(folder / 'LICENSE.txt').read_text(encoding='utf-8').strip(),
        most_bytes=MOST_BYTES,
    )
    print(
        f'{target}: {target.stat().st_size:,} bytes, at most {difference:.1e} from PyTorch; threshold '
        f'{threshold_text(metadata.threshold)} ({metadata.threshold_source}), temperature {metadata.temperature:g}'
    )
    return 0
