"""What things cost, measured side by side in one run: python tools/benchmark.py training."""

import sys

from hsonet_mm.benchmark.main import main

if __name__ == '__main__':
    sys.exit(main())
