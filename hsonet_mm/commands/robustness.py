"""``hsonet robustness``: accuracy under swapped dates, misregistration, changed light and changed season."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hsonet_mm import components  # noqa: F401
from hsonet_mm.bands import config_reading, set_reading
from hsonet_mm.commands.options import add_compute_options, add_override_options, add_threshold_option, warn
from hsonet_mm.config import add_data_arguments, declare_labels, read_config
from hsonet_mm.datasets.labelled_pairs import LabelledPair, LabelledPairs
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.confusion import Confusion, confusion
from hsonet_mm.evaluation.perturbations import PERTURBATIONS
from hsonet_mm.files import require_writable, write_json
from hsonet_mm.images import reading_of
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.opening import open_detector
from hsonet_mm.pretrained import model_names
from hsonet_mm.progress import track
from hsonet_mm.texts import threshold_text

__all__ = ['add_arguments', 'run', 'score_perturbed']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet robustness``."""
    parser.add_argument('config', type=Path, help='config file; its test split is used')
    parser.add_argument(
        'checkpoint',
        type=Path,
        help='checkpoint (.pth), exported model (.onnx) or name of a packaged model',
    )
    parser.add_argument('--split', choices=['test', 'val'], default='test', help='split to score [test]')
    parser.add_argument('-o', '--out', type=Path, help='JSON file of the scores')
    add_threshold_option(parser)
    add_data_arguments(parser)
    add_compute_options(parser)
    add_override_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet robustness``; returns the exit code."""
    require_writable(args.out)
    config = read_config(args.config, args.cfg_options)
    declare_labels(config, args)
    alone = args.checkpoint.suffix.lower() == '.onnx' or str(args.checkpoint) in model_names()
    declared, _ = reading_of(args).over(config_reading(config))
    detector = open_detector(
        [args.checkpoint] if alone else [args.config, args.checkpoint],
        device=args.device,
        threshold=args.threshold,
        cfg_options=None if alone else args.cfg_options,
        precision=args.precision,
        runtime=args.runtime,
        reading=declared,
    )
    warn(detector.notes)
    set_reading(config, detector.reading)
    rows = score_perturbed(detector, LabelledPairs(config, args.data_root, args.split))
    print(f'{detector.name} at threshold {threshold_text(detector.threshold)} ({detector.threshold_source})')
    print(f'{"":34} {"precision":>9} {"recall":>9} {"F1":>9} {"points":>9} {"perfect":>9}')
    for row in rows:
        figures = ' '.join(f'{100 * row[name]:>9.2f}' for name in ('precision', 'recall', 'f1'))
        print(
            f'{row["name"]:34} {figures} {100 * row["f1_difference"]:>+9.2f} {100 * row["perfect_f1"]:>9.2f}'
        )
    print(
        'points: difference of F1 to the first row; perfect: F1 of the labels themselves, moved as date 2 is'
    )
    if args.out is not None:
        content = {
            'model': detector.name,
            'versions': detector.versions,
            'threshold': detector.threshold,
            'split': args.split,
            'rows': rows,
        }
        write_json(args.out, content)
        print(f'Scores: {args.out}')
    return 0


def score_perturbed(
    detector: ChangeDetector, pairs: Sequence[LabelledPair] | LabelledPairs
) -> list[dict[str, Any]]:
    """Score a detector on pairs as they are and perturbed.

    Returns, for each of :data:`~hsonet_mm.evaluation.perturbations.PERTURBATIONS`, its name, all metrics over all
    pixels, how much F1 differs from that of the pairs as they are, and ``perfect_f1``, the F1 of a map without fault
    that lies where date 2 does: the labels, perturbed like images.
    """
    if detector.reading.channels != 3:
        raise UserError(
            f'{detector.name} takes {detector.reading.channels} bands per date, but light and season are '
            'simulated in red, green and blue: give a model of three bands'
        )
    totals = dict.fromkeys(PERTURBATIONS, Confusion())
    perfect = dict.fromkeys(PERTURBATIONS, Confusion())
    for number in track(range(len(pairs)), 'pairs', len(pairs)):
        pair = pairs[number]
        label = np.repeat(np.uint8(255) * (pair[2] == 1)[..., None], 3, axis=2)
        for name, perturb in PERTURBATIONS.items():
            t1, t2, target = perturb(*pair, number)
            probs = detector.probs(t1[None], t2[None], channel_order='bgr')[0]
            changed = torch.from_numpy(probs > detector.threshold)
            totals[name] += confusion(changed, torch.from_numpy(target))
            moved = perturb(label, label, pair[2], number)[1][..., 0] > 127
            perfect[name] += confusion(torch.from_numpy(moved), torch.from_numpy(target))
    original = next(iter(totals.values())).f1
    return [
        {
            'name': name,
            **total.metrics(),
            'f1_difference': total.f1 - original,
            'perfect_f1': perfect[name].f1,
        }
        for name, total in totals.items()
    ]
