"""Run a tool of Open-CD once its environment is cured: ``python -m hsonet_mm.opencd TOOL.py ARGUMENTS``.

Some tools import MMSegmentation before they read the config that would import hsonet_mm: too late with mmcv-lite.
"""

import runpy
import sys
from pathlib import Path

from hsonet_mm.opencd import compat
from hsonet_mm.opencd.tools import cure_tools
from hsonet_mm.registry import MODELS

__all__ = ['main']


def main(arguments: list[str]) -> None:
    """Run a Python file as ``python FILE ARGUMENTS`` would.

    Raises:
        SystemExit: without such a file, and whenever the file exits.
    """
    if not arguments or not Path(arguments[0]).is_file():
        named = f'there is no file {arguments[0]}' if arguments else 'name a tool of Open-CD'
        sys.exit(f'python -m hsonet_mm.opencd TOOL.py ARGUMENTS: {named}')
    MODELS.import_from_location()  # which cures the environment
    if compat.OPENCD_AVAILABLE:
        cure_tools()
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
    runpy.run_path(arguments[0], run_name='__main__')


if __name__ == '__main__':
    main(sys.argv[1:])
