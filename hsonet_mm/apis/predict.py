"""Predict the changes between two images, or between two folders of images, without labels."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import DictAction
from mmengine.utils import ProgressBar
from numpy.typing import NDArray

from hsonet_mm.apis.images import draw_overlay, find_pairs, size, write_png
from hsonet_mm.apis.predictor import Predictor
from hsonet_mm.datasets.loading import read_image
from hsonet_mm.errors import UserError

__all__ = ['Summary', 'add_arguments', 'predict_paths', 'run']


@dataclass(frozen=True)
class Summary:
    """What a run over one or more pairs came to.

    Attributes:
        pairs: Pairs written.
        changed: Changed pixels in them.
        pixels: All pixels in them.
        warnings: One sentence for each suspicious image.
        failures: One sentence for each pair that could not be predicted.
    """

    pairs: int
    changed: int
    pixels: int
    warnings: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def changed_share(self) -> float:
        """Changed share of all pixels."""
        return self.changed / self.pixels if self.pixels else 0.0


def predict_paths(
    predictor: Predictor, t1: str | Path, t2: str | Path, out_dir: str | Path, progress: bool = False
) -> Summary:
    """Predict two images or two folders and write the results.

    For every pair there appear ``<stem>_mask.png`` (0 unchanged, 255 changed), ``<stem>_prob.png``
    (probability of change in 8 bits: 255 is 1) and ``<stem>_overlay.png`` (the second date with changed
    regions tinted and outlined). Files that are there are replaced. In folders a bad pair does not stop the
    others.

    Args:
        predictor: The model.
        t1: Image or folder of the first date.
        t2: Image or folder of the second date.
        out_dir: Folder for the results; made if needed.
        progress: Show a progress bar on the standard error stream.

    Raises:
        UserError: if the paths do not match, or the only pair is bad.
    """
    first, second, out = Path(t1), Path(t2), Path(out_dir)
    pairs = find_pairs(first, second)
    if out.resolve() in (first.resolve(), second.resolve()):
        raise UserError(f'{out} holds the images and cannot take the results: give another folder with --out')
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f'the folder {out} cannot be made ({error.strerror}): give another one with --out'
        ) from None
    bar = ProgressBar(len(pairs), file=sys.stderr) if progress else None
    changed, pixels, notes, failures = 0, 0, list[str](), list[str]()
    for stem, path1, path2 in pairs:
        try:
            mask = _predict_pair(predictor, path1, path2, out / stem, notes)
            changed, pixels = changed + int(mask.sum()), pixels + mask.size
        except UserError as error:
            if first.is_file():
                if bar is not None:
                    print(file=sys.stderr)  # ends the line of the bar
                raise
            failures.append(str(error))
        if bar is not None:
            bar.update()
    if bar is not None:
        print(file=sys.stderr)
    return Summary(len(pairs) - len(failures), changed, pixels, tuple(notes), tuple(failures))


def _predict_pair(
    predictor: Predictor, path1: Path, path2: Path, target: Path, notes: list[str]
) -> NDArray[np.bool_]:
    """Predict and write one pair; add what is suspicious about it to the notes."""
    images = [read_image(str(path)) for path in (path1, path2)]
    if images[0].shape != images[1].shape:
        raise UserError(
            f'{path1} is {size(images[0])} and {path2} is {size(images[1])} pixels (columns x rows): '
            'cut both to the same area and size'
        )
    for path, image in zip((path1, path2), images, strict=True):
        if (image == image[0, 0]).all():
            notes.append(f'{path} is all one colour: check that it is the right file')
    prediction = predictor(*images)
    results = {
        'mask': prediction.mask.astype(np.uint8) * np.uint8(255),
        'prob': (prediction.probs * 255).round().astype(np.uint8),
        'overlay': draw_overlay(images[1], prediction.mask),
    }
    for kind, image in results.items():
        write_png(target.with_name(f'{target.name}_{kind}.png'), image)
    return prediction.mask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hsonet predict``.

    Args:
        parser: Where to add them.
    """
    parser.description = 'Predict the changes between two images, or between two folders of images.'
    parser.add_argument('config', help='config file that the model was trained with')
    parser.add_argument('checkpoint', help='checkpoint (.pth)')
    parser.add_argument('t1', help='image of the first date, or folder')
    parser.add_argument('t2', help='image of the second date, or folder with files of the same names')
    parser.add_argument('--out', required=True, help='folder for <stem>_mask.png, _prob.png and _overlay.png')
    parser.add_argument(
        '--threshold', type=float, help="probability above which a pixel is changed [the model's own]"
    )
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 ... [cpu]')
    parser.add_argument(
        '--mode', choices=['whole', 'slide'], help='whole images or sliding window [as in the config]'
    )
    parser.add_argument('--crop', type=int, default=256, help='window of --mode slide in pixels [256]')
    parser.add_argument('--stride', type=int, default=192, help='step of the window in pixels [192]')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='key=value pairs that replace the config'
    )


def run(args: argparse.Namespace) -> int:
    """Do what the command line asks for.

    Args:
        args: Parsed arguments of :func:`add_arguments`.

    Returns:
        Exit code: 0, or 2 if a pair could not be predicted.
    """
    window = (args.crop, args.stride) if args.mode == 'slide' else args.mode
    predictor = Predictor(args.config, args.checkpoint, args.device, args.threshold, args.cfg_options, window)
    summary = predict_paths(predictor, args.t1, args.t2, args.out, progress=True)
    for sentence in summary.warnings:
        print(f'warning: {sentence}', file=sys.stderr)
    for sentence in summary.failures:
        print(f'error: {sentence}', file=sys.stderr)
    failed = f', {len(summary.failures)} failed' if summary.failures else ''
    threshold = "the model's own threshold" if args.threshold is None else f'threshold {args.threshold:g}'
    print(
        f'{summary.pairs} pair{"" if summary.pairs == 1 else "s"} predicted{failed}, '
        f'{summary.changed_share:.2%} of the pixels changed at {threshold}, see {args.out}'
    )
    return 2 if summary.failures else 0
