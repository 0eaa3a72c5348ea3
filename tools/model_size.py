"""Parameters and MACs of configs: python tools/model_size.py configs/hsonet_levir.py."""

import sys

from hsonet_mm.commands.model_size import main

if __name__ == '__main__':
    sys.exit(main())
