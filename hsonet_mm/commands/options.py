"""Options that several commands share."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.images import add_reading_arguments
from hsonet_mm.inference.tta import KINDS
from hsonet_mm.overrides import add_cfg_options
from hsonet_mm.pretrained import DEFAULT
from hsonet_mm.workers import ENGINES

__all__ = [
    'add_compute_options',
    'add_device_option',
    'add_model_option',
    'add_override_options',
    'add_resample_option',
    'add_threshold_option',
    'add_tta_option',
    'add_worker_options',
    'check_positive',
    'check_worker_options',
    'gpus_of',
    'resample_of',
    'split_model',
    'tta_of',
    'warn',
    'without_data',
]

_MODEL_FILES = ('.onnx', '.py', '.pth', '.pt', '.pt2', '.safetensors')
"""Suffixes of files that are not images."""
_CONFIGS = ('.py', '.json', '.yaml', '.yml')
"""Suffixes of the configs that MMEngine reads."""


def add_model_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--model``."""
    parser.add_argument(
        '--model',
        metavar='NAME',
        help=f'packaged model (`hsonet models` lists them) or an .onnx file [{DEFAULT}]',
    )


def add_resample_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--resample``."""
    parser.add_argument(
        '--resample',
        nargs='?',
        const='model',
        metavar='METRES',
        help='resample georeferenced images to this pixel size on the ground, and the result back; without METRES: to '
        'the nearest size that the model is for [no resampling]',
    )


def add_tta_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--tta``."""
    parser.add_argument(
        '--tta',
        nargs='*',
        choices=KINDS,
        metavar='KIND',
        help=f'test-time augmentation: average over these of {", ".join(KINDS)}; without KIND over all of them [off]',
    )


def tta_of(args: argparse.Namespace) -> tuple[str, ...]:
    """The value of ``--tta``."""
    return () if args.tta is None else tuple(args.tta) or KINDS


def split_model(
    arguments: Sequence[str], model: str | None, dates: Sequence[str]
) -> tuple[tuple[str, ...], list[str]]:
    """Separate the model on a command line, as :func:`open_detector` takes it, from one input for each date."""
    count = len(arguments) - len(dates)
    files, given = tuple(arguments[: max(0, count)]), list(arguments[max(0, count) :])
    wanted = ' and '.join(dates)
    what = (
        f'give {wanted}; before them config and checkpoint, or one .onnx file, or nothing but --model NAME'
        if dates
        else 'give the model alone: config and checkpoint, or one .onnx file, or --model NAME'
    )
    if misplaced := next((one for one in given if Path(one).suffix.lower() in _MODEL_FILES), None):
        raise UserError(f'{misplaced} is given as {wanted}: {what}')
    if count < 0:
        raise UserError(f'too few files: {what}')
    if model is not None:
        if count:
            raise UserError(f'both --model {model} and {" ".join(files)} give a model: {what}')
        return (model,), given
    if count == 0:
        return (DEFAULT,), given
    suffixes = [Path(one).suffix.lower() for one in files]
    if suffixes == ['.onnx'] or (len(suffixes) == 2 and suffixes[0] in _CONFIGS and suffixes[1] != '.onnx'):
        return files, given
    raise UserError(f'invalid model {" ".join(files)}: {what}')


def resample_of(args: argparse.Namespace) -> float | str | None:
    """The value of ``--resample``: metres, ``'model'`` or None."""
    if args.resample is None or args.resample == 'model':
        return args.resample
    try:
        metres = float(args.resample)
    except ValueError:
        metres = 0.0
    if not 0 < metres < float('inf'):
        raise UserError(
            f"invalid --resample '{args.resample}': expected a size in metres, as 0.5, or nothing for the model's own; "
            'place it after the images'
        )
    return metres


def add_threshold_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--threshold``."""
    parser.add_argument(
        '--threshold',
        type=float,
        help="probability above which a pixel is changed [calibrated, or the model's own]",
    )


def add_override_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, and the options of how files are read."""
    add_cfg_options(parser)
    add_reading_arguments(parser, 'as in training')


def add_device_option(parser: argparse._ActionsContainer, more: str = '') -> None:
    """Add ``--device`` to a parser or a group of arguments; ``more`` describes further values."""
    parser.add_argument('--device', help=f'cpu, cuda, cuda:1 ...{more} [cpu]')


def add_worker_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--workers``, ``--gpus``, ``--engine`` and ``--ray-address``."""
    parser.add_argument('--workers', type=int, help='parallel processes [1, or one per GPU or machine]')
    parser.add_argument('--gpus', help='GPUs of this machine to use, such as 0,1')
    parser.add_argument('--engine', choices=ENGINES, default='local', help='where to compute [local]')
    parser.add_argument(
        '--ray-address', help='Ray cluster whose machines share the files [one started on this machine]'
    )


def check_worker_options(args: argparse.Namespace) -> None:
    """Raise an error for options of workers that exclude each other."""
    if args.workers is not None:
        check_positive('--workers', args.workers)
    if args.ray_address and args.engine != 'ray':
        raise UserError('--ray-address requires --engine ray: add it, or leave the address out')
    if args.gpus and args.engine == 'ray':
        raise UserError(
            '--gpus requires --engine local: leave it out, Ray gives each process a GPU of its machines'
        )


def gpus_of(args: argparse.Namespace) -> tuple[int, ...]:
    """The numbers of the GPUs in ``--gpus``."""
    numbers = args.gpus.split(',') if args.gpus else []
    if not all(number.isdecimal() for number in numbers):
        raise UserError(f"invalid --gpus '{args.gpus}': expected whole numbers with commas, as 1,2,3")
    return tuple(map(int, numbers))


def check_positive(option: str, value: int) -> None:
    """Raise an error for a number below 1."""
    if value < 1:
        raise UserError(f'invalid {option} {value}: expected 1 or more')


def add_compute_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--device``, ``--runtime`` and ``--precision``."""
    add_device_option(parser, '; of an exported model also tensorrt, tensorrt:1 ...')
    parser.add_argument(
        '--runtime',
        choices=['pytorch', 'onnxruntime', 'openvino'],
        help='what runs the model [pytorch; onnxruntime for an .onnx file, and on a CPU for a packaged model]',
    )
    parser.add_argument(
        '--precision',
        choices=['auto', 'fp32', 'bf16'],
        help='precision in PyTorch and OpenVINO; auto: bf16 on processors that support it, else fp32 [auto]',
    )


def warn(sentences: Iterable[str]) -> None:
    """Print warnings, one per line."""
    for sentence in sentences:
        print(f'warning: {sentence}', file=sys.stderr)


def without_data(pixels: int, whole: int) -> str:
    """Words for the pixels without data of a result, to be added to a sentence; empty if there are none."""
    return f', {pixels / whole:.2%} of all have no data' if pixels else ''
