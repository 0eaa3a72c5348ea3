"""``hsonet export``: write a trained model to a file that runs without this package's dependencies."""

import argparse
from pathlib import Path

from hsonet_mm import components  # noqa: F401
from hsonet_mm.commands.options import add_override_options, add_threshold_option
from hsonet_mm.errors import UserError
from hsonet_mm.export.opset import NEWEST, OLDEST
from hsonet_mm.export.pipeline import export
from hsonet_mm.files import require_writable
from hsonet_mm.images import reading_of
from hsonet_mm.texts import threshold_text

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet export``."""
    parser.add_argument(
        'config',
        type=Path,
        help='config file that the model was trained with; or, without a checkpoint, the name of a packaged model or a '
        'model exported with --fp16',
    )
    parser.add_argument(
        'checkpoint', type=Path, nargs='?', help='checkpoint (.pth); a calibration beside it is included'
    )
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        required=True,
        help='file to write: .onnx, or .pt2 for torch.export',
    )
    parser.add_argument(
        '--tile',
        type=int,
        metavar='N',
        help='fixed input of N x N pixels, as QGIS Deepness requires',
    )
    parser.add_argument(
        '--fp16',
        action='store_true',
        help='store the weights in half precision, under their names: half the size, the same speed, and PyTorch '
        'can also load the file',
    )
    parser.add_argument(
        '--ground-resolution',
        type=float,
        nargs=2,
        metavar='METRES',
        help='smallest and largest pixel size on the ground that the model is for; predict and scene warn of other '
        'sizes and resample to these with --resample [unknown]',
    )
    parser.add_argument(
        '--int8',
        action='store_true',
        help='quantise to 8 bits: a quarter of the size, faster; needs validation pairs',
    )
    parser.add_argument(
        '--calibration-data',
        metavar='ROOT',
        help='folder of the data set whose validation split calibrates --int8 [as in the config]',
    )
    parser.add_argument(
        '--opset',
        type=int,
        metavar='N',
        help=f'version of the ONNX operators, {OLDEST} to {NEWEST}; TensorRT 8 and OpenCV need an older one [{NEWEST}]',
    )
    add_threshold_option(parser)
    add_override_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet export``; returns the exit code."""
    if args.calibration_data is not None and not args.int8:
        raise UserError('--calibration-data requires --int8: add it, or leave both out')
    require_writable(args.out)
    print(f'Exporting {args.config} (which can take minutes) ...', flush=True)
    metadata, difference = export(
        args.config,
        args.checkpoint,
        args.out,
        tile_size=args.tile,
        opset=args.opset,
        threshold=args.threshold,
        cfg_options=args.cfg_options,
        int8=args.int8,
        calibration_data=args.calibration_data,
        reading=reading_of(args),
        fp16=args.fp16,
        ground_resolution=args.ground_resolution and tuple(args.ground_resolution),
    )
    before = 'before quantisation ' if metadata.int8 else ''
    print(
        f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB, {before}at most {difference:.1e} from PyTorch; '
        f'threshold {threshold_text(metadata.threshold)} ({metadata.threshold_source}), '
        f'temperature {metadata.temperature:g}'
    )
    if metadata.int8:
        f1, f1_float = metadata.int8['f1'], metadata.int8['f1_float']
        print(
            f'int8: changed F1 {f1:.4f} on {metadata.int8["pairs"]} validation pairs, in float32 {f1_float:.4f} '
            f'({100 * (f1 - f1_float):+.2f} points)'
        )
    return 0
