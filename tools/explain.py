"""The same as `hsonet explain`."""

import sys

from hsonet_mm.cli import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('explain'))
