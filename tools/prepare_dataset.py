"""Cut rasters and masks into the LEVIR layout: python tools/prepare_dataset.py SOURCE OUT --tile 256."""

import sys

from hsonet_mm.cli import run_tool

if __name__ == '__main__':
    sys.exit(run_tool('prepare'))
