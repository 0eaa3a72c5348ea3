"""Draw the log of a training: F1 of "changed" on val, and the shares of the gradient under EO-loss.

python tools/plot_training.py work_dirs/hsonet_levir -o curve.svg
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hsonet_mm.errors import UserError
from hsonet_mm.mistakes import guard
from hsonet_mm.pages.svg import stack_shares, write_figure
from hsonet_mm.training_log import SHARES, read_log


def draw(records: list[dict[str, Any]]) -> Figure:
    """Two plots below each other, over the iterations."""
    validations = [one for one in records if 'changed/f1' in one]
    training = [one for one in records if 'eo_zeta' in one]
    figure = Figure(figsize=(7, 5.5), layout='constrained')
    above, below = figure.subplots(2, sharex=True)
    steps = [one['step'] for one in validations]
    for key, label in (('changed/f1', 'at 0.5'), ('changed/best_f1', 'at the best threshold')):
        above.plot(steps, [one[key] for one in validations], marker='o', markersize=4, label=label)
    above.set(ylabel='F1 of "changed" on val')
    if training:
        steps = [one['step'] for one in training]
        stack_shares(below, steps, [[one[key] for one in training] for key in SHARES])
        below.plot(steps, [100 * one['eo_zeta'] for one in training], 'k--', label='zeta, %')
    below.set(xlabel='iteration')  # also where nothing is logged of EO-loss
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.legend(loc='center left', bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='work dir of the training')
    parser.add_argument('-o', '--out', type=Path, default=Path('curve.svg'), help='SVG or PNG [curve.svg]')
    args = parser.parse_args()
    return guard(plot, args)


def plot(args: argparse.Namespace) -> int:
    work_dir, out = args.work_dir, args.out
    records = read_log(work_dir)
    if not any('changed/f1' in one for one in records):
        raise UserError(f'{work_dir} contains no log of a training with validations: give its work dir')
    if out.suffix.lower() not in ('.svg', '.png'):
        raise UserError(f"invalid output '{out}': expected a name that ends in .svg or .png")
    write_figure(draw(records), out)
    return 0


if __name__ == '__main__':
    sys.exit(main())
