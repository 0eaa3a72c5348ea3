"""Check a data set before training on it: python tools/check_dataset.py DATA --contact-sheet sheet.png."""

import sys

from hsonet_mm.cli import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('check'))
