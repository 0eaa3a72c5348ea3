"""Options that several commands share."""

import argparse
from collections.abc import Sequence
from typing import Any

from hsonet_mm.images import add_reading_arguments

__all__ = ['add_compute_options', 'add_device_option', 'add_model_options', 'add_threshold_option']


class _DictAction(argparse.Action):
    """MMEngine's way of reading key=value pairs, imported where somebody gives some."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            from mmengine.config import DictAction
        except ImportError:
            parser.error('--cfg-options is for configs and needs MMEngine: leave it out')
        DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)


def add_threshold_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--threshold``.

    Args:
        parser: A parser or a group of its arguments.
    """
    parser.add_argument(
        '--threshold',
        type=float,
        help="probability above which a pixel is changed [calibrated, or the model's own]",
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what changes a trained model on its way in: values of its config, and how files are read.

    Args:
        parser: Of the command.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=_DictAction,
        metavar='KEY=VALUE',
        help='values that replace the config',
    )
    add_reading_arguments(parser, 'as in training')


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
