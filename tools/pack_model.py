#!/usr/bin/env python
"""Put a trained model into hsonet_mm/pretrained: python tools/pack_model.py NAME CONFIG CHECKPOINT --help"""

import argparse
import sys

from hsonet_mm.commands import pack
from hsonet_mm.mistakes import guard

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Put a trained model into the package.')
    pack.add_arguments(parser)
    sys.exit(guard(pack.run, parser.parse_args()))
