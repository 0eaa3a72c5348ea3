#!/usr/bin/env python
"""Put measured figures into the card of a model: python tools/score_model.py NAME DATA --help"""

import argparse
import sys

from hsonet_mm.commands import score
from hsonet_mm.mistakes import guard

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Put measured figures into the card of a model.')
    score.add_arguments(parser)
    sys.exit(guard(score.run, parser.parse_args()))
