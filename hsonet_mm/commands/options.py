"""Options that several commands share."""

import argparse

__all__ = ['add_compute_options']


def add_compute_options(parser: argparse._ActionsContainer) -> None:
    """Add what a model computes on: device, runtime and precision.

    Args:
        parser: A parser or a group of its arguments.
    """
    parser.add_argument(
        '--device', help='cpu, cuda, cuda:1 ...; of an exported model also tensorrt, tensorrt:1 ... [cpu]'
    )
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
