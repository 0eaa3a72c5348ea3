"""``hsonet models``: the models that come with the package, and their cards."""

import argparse

from hsonet_mm.errors import UserError
from hsonet_mm.pretrained import (
    DEFAULT,
    model_card,
    model_metadata,
    model_names,
    model_path,
    model_title,
)

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet models``."""
    parser.add_argument('name', nargs='?', help='model whose card is printed [list all models]')


def run(args: argparse.Namespace) -> int:
    """List the models or print a card; returns the exit code."""
    names = model_names()
    if args.name is not None:
        if names and args.name not in names:
            raise UserError(f"invalid model '{args.name}': expected one of: {', '.join(names)}")
        print(model_card(args.name))
        return 0
    for name in names:
        metadata = model_metadata(name)
        low, high = metadata.ground_resolution or (None, None)
        ground = '' if low is None else f', for pixels of {low:g} to {high:g} m'
        default = ', the default' if name == DEFAULT else ''
        size = model_path(name).stat().st_size / 1e6
        print(f'{name}: {model_title(name)} ({size:.1f} MB{ground}{default})')
    print('`hsonet models NAME` prints a card.' if names else 'No model comes with this installation.')
    return 0
