"""``--cfg-options``: values that replace those of a config, the same for every command."""

import argparse
from collections.abc import Sequence
from typing import Any

__all__ = ['add_cfg_options']


class _DictAction(argparse.Action):
    """MMEngine's parser of key=value pairs, imported only if the option is given."""

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
        if wrong := next((pair for pair in values or () if '=' not in pair), None):
            parser.error(f"invalid --cfg-options '{wrong}': expected KEY=VALUE")
        DictAction(self.option_strings, self.dest)(parser, namespace, values, option_string)


def add_cfg_options(
    parser: argparse._ActionsContainer, text: str = 'values that replace those of the config'
) -> None:
    """Add the option; its value is a mapping from dotted keys, or None."""
    parser.add_argument('--cfg-options', nargs='+', action=_DictAction, metavar='KEY=VALUE', help=text)
