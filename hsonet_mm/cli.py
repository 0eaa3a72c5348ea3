"""The console command ``hsonet``; the scripts in ``tools/`` call the same functions."""

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path

from hsonet_mm.mistakes import OPENCV, guard
from hsonet_mm.version import __version__

__all__ = ['main', 'run_tool']

COMMANDS = {
    'train': ('hsonet_mm.commands.train', 'train the network of a config'),
    'test': ('hsonet_mm.commands.test', 'score a checkpoint on the test split'),
    'predict': ('hsonet_mm.commands.predict', 'write change maps of image pairs'),
    'scene': ('hsonet_mm.commands.scene', 'write change maps of georeferenced scenes of any size'),
    'models': ('hsonet_mm.commands.models', 'list the packaged models or print the card of one'),
    'view': ('hsonet_mm.commands.view', 'write HTML pages that show change maps of scenes'),
    'explain': ('hsonet_mm.commands.explain', 'write a page with relation maps, Grad-CAM and features'),
    'calibrate': ('hsonet_mm.commands.calibrate', 'fit threshold and temperature on the validation split'),
    'robustness': ('hsonet_mm.commands.robustness', 'score a model on perturbed test pairs'),
    'export': ('hsonet_mm.commands.export', 'export a model to one file that runs without this package'),
    'prepare': ('hsonet_mm.preparation.prepare', 'cut archives or rasters into the LEVIR layout'),
    'check': ('hsonet_mm.preparation.check', 'check a data set before training on it'),
    'leaderboard': ('hsonet_mm.commands.leaderboard', 'train and score methods under one protocol'),
    'demo': ('hsonet_mm.commands.demo', 'generate demo data, train, test and predict on it'),
}
"""Commands: module with ``add_arguments(parser)`` and ``run(args)``, summary."""
NEEDED = {
    **dict.fromkeys(('torch', 'mmengine', 'mmcv', 'mmseg'), '"hsonet_mm[standalone]"'),
    **dict.fromkeys(('pandas', 'pydantic', 'scipy'), '"hsonet_mm[leaderboard]"'),
    'cv2': OPENCV,
}
"""Modules without which a command cannot be imported, and what to install."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``hsonet COMMAND ...``; returns the exit code."""
    _print_anything()
    parser = argparse.ArgumentParser(prog='hsonet', description='Change detection with HSONet')
    parser.add_argument('--version', action='version', version=f'%(prog)s {__version__}')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    argv = _without_empty(parser, sys.argv[1:] if argv is None else argv)
    wanted = argv[0] if argv else None
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == wanted:  # only the wanted command's modules are imported
            try:
                tool = import_module(module)
            except ModuleNotFoundError as error:
                missing = (error.name or '').partition('.')[0]
                if missing not in NEEDED:
                    raise
                print(
                    f'error: hsonet {name} needs {missing}, which is not installed: pip install {NEEDED[missing]}',
                    file=sys.stderr,
                )
                return 2
            tool.add_arguments(command)
            command.set_defaults(tool=tool)
    args = parser.parse_args(argv)
    return guard(args.tool.run, args)


def run_tool(name: str, argv: Sequence[str] | None = None) -> int:
    """Entry point of the script ``tools/`` of one command; returns the exit code."""
    _print_anything()
    module, summary = COMMANDS[name]
    tool = import_module(module)
    parser = argparse.ArgumentParser(description=summary)
    tool.add_arguments(parser)
    argv = _without_empty(parser, sys.argv[1:] if argv is None else argv)
    return guard(tool.run, parser.parse_args(argv))


def _without_empty(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """The arguments; an empty one is an error, because as a path it would be the working directory."""
    for before, argument in pairwise(['', *argv]):
        if not argument or re.fullmatch('--[a-z-]+=', argument):
            where = argument.rstrip('=') or (f'behind {before}' if before else 'the first')
            parser.error(
                f'an argument is empty ({where}), as a shell variable that is not set: give a value, or leave it out'
            )
    return list(argv)


def _print_anything() -> None:
    """Print characters that the encoding of the terminal lacks as escapes; without a standard output, nothing."""
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:  # closed by whoever started the command
            setattr(sys, name, Path(os.devnull).open('w'))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not what a test or a notebook has put there
            stream.reconfigure(errors='backslashreplace')
