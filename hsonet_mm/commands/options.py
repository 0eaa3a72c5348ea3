"""Options that several commands share."""

import argparse

__all__ = ['add_compute_options', 'add_device_option']


def add_device_option(parser: argparse._ActionsContainer, more: str = '') -> None:
    """Add ``--device``.

    Args:
        parser: A parser or a group of its arguments.
        more: What else it can be.
    """
    parser.add_argument('--device', help=f'cpu, cuda, cuda:1 ...{more} [cpu]')


def add_compute_options(parser: argparse._ActionsContainer) -> None:
    """Add what a model computes on: device, runtime and precision.

    Args:
        parser: A parser or a group of its arguments.
    """
    add_device_option(parser, '; of an exported model also tensorrt, tensorrt:1 ...')
    parser.add_argument(
        '--runtime',
        choices=['pytorch', 'onnxruntime', 'openvino'],
        help='what runs the model [pytorch; onnxruntime for an .onnx file]',
    )
    parser.add_argument(
        '--precision',
        choices=['auto', 'fp32', 'bf16'],
        help='of a checkpoint; auto: bf16 on processors that have it, else fp32 [auto]',
    )
