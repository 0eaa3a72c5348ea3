"""The options by which a command line declares how labels are coded."""

import argparse

from hsonet_mm.errors import UserError
from hsonet_mm.labels.values import Value, parse_value

__all__ = ['add_label_arguments']


def _value(text: str) -> Value:
    try:
        return parse_value(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--changed-values`` and ``--ignore-value``, each None or a list of values."""
    parser.add_argument(
        '--changed-values',
        type=_value,
        nargs='+',
        metavar='VALUE',
        help='label values that mean changed, all others being unchanged: numbers, R,G,B or names of colours '
        '[as labels.json of the data set says, or inferred from all labels]',
    )
    parser.add_argument(
        '--ignore-value',
        type=_value,
        nargs='+',
        metavar='VALUE',
        help='label values that mean "not labelled"',
    )
