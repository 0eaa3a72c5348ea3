"""Predict the changes between two images, or between two folders of images, without labels."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hsonet_mm.commands.options import (
    add_compute_options,
    add_model_option,
    add_override_options,
    add_resample_option,
    add_threshold_option,
    add_tta_option,
    resample_of,
    split_model,
    tta_of,
    warn,
    without_data,
)
from hsonet_mm.errors import UserError
from hsonet_mm.files import made_folder
from hsonet_mm.images import first_three, join, notes_of, reading_of, to_bgr
from hsonet_mm.index import some
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.opening import open_detector
from hsonet_mm.inference.pairs import draw_overlay, find_pairs, folders_left_out, write_pngs
from hsonet_mm.inference.resolution import pair_notes, pair_resampling
from hsonet_mm.inference.window_choice import WindowChoice
from hsonet_mm.progress import progress_bar
from hsonet_mm.texts import counted, threshold_text

__all__ = ['Summary', 'add_arguments', 'predict_paths', 'run']


@dataclass(frozen=True)
class Summary:
    """Summary of the predictions of one or more pairs.

    Pixels are those that have data at both dates; there is a sentence for each suspicious image and each pair that
    failed.
    """

    pairs: int
    changed: int
    pixels: int
    without_data: int
    slid: int
    warnings: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def changed_share(self) -> float:
        """Changed share of all pixels with data."""
        return self.changed / self.pixels if self.pixels else 0.0


def predict_paths(
    detector: ChangeDetector, t1: str | Path, t2: str | Path, out_dir: str | Path, progress: bool = False
) -> Summary:
    """Predict two images or two folders and write the results.

    For every pair there appear ``<stem>_mask.png`` (0 unchanged, 255 changed), ``<stem>_prob.png``
    (probability of change in 8 bits: 255 is 1) and ``<stem>_overlay.png`` (the second date with changed
    regions tinted and outlined). Where a date has no data, mask and probability are 0, and ``<stem>_valid.png`` tells
    (0 no data, 255 data at both dates); without such pixels it is not written. Files that are there are replaced. In
    folders a bad pair does not stop the others. A folder that would remain empty is not left behind.
    """
    first, second, out = Path(t1), Path(t2), Path(out_dir)
    pairs = find_pairs(first, second)
    if out.resolve() in (first.resolve(), second.resolve()):
        what = 'an image: give a folder' if first.is_file() else 'the folder of the images: give another one'
        raise UserError(f'{out} is {what} for the results with --out')
    notes = _notes(first, second, out)
    changed, pixels, without, slid, failures = 0, 0, 0, 0, list[str]()
    with made_folder(out), progress_bar('pairs', len(pairs), shown=progress) as advance:
        for stem, path1, path2 in pairs:
            try:
                results, slides = _predict_pair(detector, path1, path2, notes)
            except UserError as error:
                if first.is_file():
                    raise
                failures.append(str(error))
            else:  # outside of "try": on a full disk there is no use in going on
                targets = {out / f'{stem}_{kind}.png': image for kind, image in results.items()}
                valid_file = out / f'{stem}_valid.png'
                for target in (*targets, valid_file):
                    if target.resolve() in (path1.resolve(), path2.resolve()):
                        raise UserError(
                            f'{target} is an image that the result would overwrite: give another folder with --out'
                        )
                earlier = (out / f'{stem}_mask.png').exists()
                write_pngs(targets)
                valid = results.get('valid')
                if valid is None and earlier:  # another file of that name is somebody else's
                    valid_file.unlink(missing_ok=True)
                changed += int(np.count_nonzero(results['mask']))
                known = results['mask'].size if valid is None else int(np.count_nonzero(valid))
                pixels += known
                without += results['mask'].size - known
                slid += slides
            advance()
    counts = (changed, pixels, without, slid)
    return Summary(len(pairs) - len(failures), *counts, tuple(notes), tuple(failures))


def _notes(first: Path, second: Path, out: Path) -> list[str]:
    """Warnings about the two images or folders."""
    notes = [f'{second} is given for both dates'] if first.samefile(second) else []
    if first.is_dir():
        below = [path for path in folders_left_out(first) if path.resolve() != out.resolve()]
        if below:
            notes.append(f'{some(map(str, below))}: images in subfolders are not predicted: give each folder')
    return notes


def _predict_pair(
    detector: ChangeDetector, path1: Path, path2: Path, notes: list[str]
) -> tuple[dict[str, NDArray[np.uint8]], bool]:
    """Predict one pair: mask, probability, overlay, valid pixels, and whether a sliding window was used.

    What is suspicious is added to the notes.
    """
    t1, t2 = detector.read(path1, path2)
    pair, resampling = join(t1, t2, detector.reading.stretch), pair_resampling(detector, t1, t2)
    for date in (t1, t2):
        if (date.values == date.values[0, 0]).all():
            notes.append(f'{date.path} is all one colour: check that it is the right file')
    notes += [note.text for note in notes_of(t1, t2, detector.reading.nodata is not None)]
    notes += pair_notes(detector, t1, t2)
    prediction = detector.predict_pair(pair, resampling)
    if not prediction.valid.any():
        raise UserError(
            f'{path1} and {path2} have no valid pixel in common: check their nodata values and alpha bands'
        )
    results = {
        'mask': prediction.mask.astype(np.uint8) * np.uint8(255),
        'prob': (prediction.probs * 255).round().astype(np.uint8),
        'overlay': draw_overlay(to_bgr(first_three(pair.t2)), prediction.mask),
    }
    if pair.valid is not None:
        results['valid'] = pair.valid.astype(np.uint8) * np.uint8(255)
    shape = prediction.mask.shape
    return results, detector.slides(*(shape if resampling is None else resampling.shape(*shape)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hsonet predict``."""
    parser.description = 'Predict the changes between two images, or between two folders of images.'
    parser.add_argument(
        'files',
        nargs='+',
        metavar='FILE',
        help='image of the first date, or a folder; then that of the second date, or a folder with files of the same '
        'names. To use another model than --model, put its config and checkpoint (.pth), or an exported model (.onnx), '
        'before them',
    )
    add_model_option(parser)
    add_resample_option(parser)
    parser.add_argument(
        '-o',
        '--out',
        required=True,
        help='folder for <stem>_mask.png, _prob.png and _overlay.png; the stem of two images is that of the second',
    )
    add_threshold_option(parser)
    add_compute_options(parser)
    parser.add_argument(
        '--mode',
        choices=['whole', 'slide'],
        help='predict whole images, or slide a window [slide over images of more than 2 megapixels, or if the config '
        'does]',
    )
    parser.add_argument(
        '--crop',
        type=int,
        help='size of the window in pixels; implies --mode slide [that of the training crops]',
    )
    parser.add_argument(
        '--stride',
        type=int,
        help='step of the window in pixels; implies --mode slide [a quarter overlaps, rounded up to a multiple of 32]',
    )
    add_tta_option(parser)
    add_override_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet predict``; returns 0, or 1 if a pair of two folders could not be predicted."""
    resample = resample_of(args)
    model, (t1, t2) = split_model(args.files, args.model, ('the image before', 'the image after'))
    choice: WindowChoice = args.mode
    if (args.crop, args.stride) != (None, None):
        if args.mode == 'whole':
            raise UserError('--crop and --stride require --mode slide: leave them out for whole images')
        choice = (args.crop, args.stride)
    detector = open_detector(
        model,
        device=args.device,
        threshold=args.threshold,
        cfg_options=args.cfg_options,
        window=choice,
        precision=args.precision,
        runtime=args.runtime,
        reading=reading_of(args),
        resample=resample,
        tta=tta_of(args),
    )
    summary = predict_paths(detector, t1, t2, args.out, progress=True)
    warn((*detector.notes, *summary.warnings))
    for sentence in summary.failures:
        print(f'error: {sentence}', file=sys.stderr)
    whole = summary.pixels + summary.without_data
    gaps = without_data(summary.without_data, whole)
    if summary.slid:
        window = detector.window
        hint = '' if window.fixed else ' (--mode whole predicts images at once, --crop changes the window)'
        print(
            f'{summary.slid} of {summary.pairs} in sliding windows of {window.size} x {window.size} pixels that share '
            f'{window.overlap}{hint}'
        )
    failed = f', {len(summary.failures)} failed' if summary.failures else ''
    result = (
        f', {summary.changed_share:.2%} of the pixels changed at threshold {threshold_text(detector.threshold)} '
        f'({detector.threshold_source}){gaps}, see {args.out}'
    )
    print(f'{counted(summary.pairs, "pair")} predicted{failed}{result if summary.pairs else ""}')
    return 1 if summary.failures else 0
