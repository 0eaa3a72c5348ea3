"""The picture of the README, from what `hsonet demo` wrote: python docs/demo_picture.py demo_out docs/img/demo.webp."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS = {'t1': 'before', 't2': 'after', 'probs': 'probability of change', 'label': 'truth'}
"""Views that the demo writes of each test pair, with their headings."""
PAIRS = ('test_0002', 'test_0005')
"""Another season; another illumination."""
GAP, HEADING = 6, 26
"""Pixels between two pictures, and above them."""


def draw(pictures: Path, pairs: Sequence[str] = PAIRS) -> Image.Image:
    """One row for each pair, one column for each view.

    Args:
        pictures: The folder ``pictures`` of a demo.
        pairs: Names of test pairs.
    """
    size = Image.open(pictures / f'{pairs[0]}_t1.png').width
    step = size + GAP
    sheet = Image.new('RGB', (len(COLUMNS) * step - GAP, HEADING + len(pairs) * step - GAP), 'white')
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, (view, heading) in enumerate(COLUMNS.items()):
        pen.text((column * step + size / 2, HEADING / 2), heading, fill='black', font=font, anchor='mm')
        for row, pair in enumerate(pairs):
            view_of_pair = Image.open(pictures / f'{pair}_{view}.png').convert('RGB')
            sheet.paste(view_of_pair, (column * step, HEADING + row * step))
    return sheet


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('demo', type=Path, help='folder that `hsonet demo` wrote')
    parser.add_argument('picture', type=Path, help='file to write; its suffix is the format')
    args = parser.parse_args()
    draw(args.demo / 'pictures').save(args.picture, quality=80)
