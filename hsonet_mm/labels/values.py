"""Values of labels as users write them, in configs and on command lines: numbers, colours, names of colours."""

import argparse
from collections.abc import Iterable

from PIL import ImageColor

from hsonet_mm.errors import UserError

__all__ = ['Value', 'add_label_arguments', 'parse_value', 'parse_values', 'value_text', 'values_told']

Value = int | tuple[int, int, int]
"""A value of a one-band label, or a colour (red, green, blue)."""


def parse_value(text: object) -> Value:
    """Read a value of a label as users write it: ``2``, ``'255,0,0'``, ``[255, 0, 0]``, ``'#ff0000'``, ``'red'``."""
    try:
        if isinstance(text, str) and not text.strip().isdigit():
            numbers = text.split(',')
            if len(numbers) != 3:
                colour = ImageColor.getrgb(text.strip())
                return colour[0], colour[1], colour[2]
            text = numbers
        if isinstance(text, (list, tuple)):
            red, green, blue = (int(number) for number in text)
            if all(0 <= number <= 255 for number in (red, green, blue)):
                return red, green, blue
        elif isinstance(text, (int, str)) and not isinstance(text, bool) and 0 <= int(text) <= 65535:
            return int(text)
    except ValueError:
        pass
    raise UserError(
        f'invalid label value {text!r}: expected a number from 0 to 65535, R,G,B or the name of a colour'
    )


def parse_values(given: object) -> tuple[Value, ...]:
    """Read one value or a sequence of them; None is none, see :func:`parse_value`."""
    if given is None:
        return ()
    return tuple(map(parse_value, given if isinstance(given, (list, tuple)) else (given,)))


def value_text(value: Value) -> str:
    """A value as users write it."""
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)


def values_told(values: Iterable[Value]) -> str:
    """A few of the values, for a message."""
    texts = [value_text(value) for value in sorted(values, key=lambda one: (str(type(one)), one))]
    return ', '.join(texts[:5]) + (f' and more up to {texts[-1]}' if len(texts) > 5 else '')


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
