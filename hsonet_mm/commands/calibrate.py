"""``hsonet calibrate``: fit temperature and threshold of a model on its validation split."""

import argparse
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mmengine.config import Config

from hsonet_mm import components  # noqa: F401
from hsonet_mm.bands import config_reading, set_reading
from hsonet_mm.commands.options import add_compute_options, add_override_options, warn
from hsonet_mm.config import add_data_arguments, declare_labels, read_config
from hsonet_mm.datasets.labelled_pairs import LabelledPairs
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.calibration import TEMPERATURES, LogitCounts, fit_temperature, reliability
from hsonet_mm.evaluation.reliability_diagram import check_diagram, write_diagram
from hsonet_mm.files import require_writable
from hsonet_mm.images import reading_of
from hsonet_mm.inference.calibration import Calibration, sidecar_of, write_calibration
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.models import check_runtime, open_checkpoint, open_exported
from hsonet_mm.memory import keep_memory
from hsonet_mm.pretrained import model_names
from hsonet_mm.progress import track
from hsonet_mm.version import __version__

__all__ = ['add_arguments', 'calibrate', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet calibrate``."""
    parser.add_argument('config', type=Path, help='config file; its validation split is used')
    parser.add_argument(
        'checkpoint', type=Path, help='checkpoint (.pth), or the model exported from it (.onnx)'
    )
    add_data_arguments(parser)
    add_compute_options(parser)
    parser.add_argument(
        '--diagram', type=Path, help='picture of the reliability, .png or .svg [CHECKPOINT.calibration.png]'
    )
    add_override_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet calibrate``; returns the exit code."""
    if str(args.checkpoint) in model_names():
        raise UserError(
            f'{args.checkpoint} is a packaged model, beside which no calibration can be written: calibrate a copy '
            f'(`hsonet export {args.checkpoint} -o my.onnx`)'
        )
    diagram = args.diagram or sidecar_of(args.checkpoint).with_suffix('.png')
    if args.diagram is not None:
        check_diagram(diagram)
    require_writable(sidecar_of(args.checkpoint), args.diagram)
    config = read_config(args.config, args.cfg_options)
    declare_labels(config, args)
    # Without the calibration that may lie there: what is measured is the model itself.
    device, precision = args.device or 'cpu', args.precision or 'auto'
    if args.checkpoint.suffix.lower() == '.onnx':
        model = open_exported(args.checkpoint, args.runtime or 'onnxruntime', device, precision=precision)
    else:
        check_runtime(args.runtime, args.checkpoint)
        keep_memory()
        model = open_checkpoint(args.config, args.checkpoint, device, args.cfg_options, precision)
    declared, _ = reading_of(args).over(config_reading(config))
    detector = ChangeDetector(model, reading=declared)
    warn(detector.notes)
    set_reading(config, detector.reading)
    counts = count_validation(detector, config, args.data_root)
    calibration, report = calibrate(counts, model.threshold)
    report |= {'model': model.name, 'made': datetime.now(timezone.utc).isoformat(timespec='seconds')}
    path = write_calibration(args.checkpoint, calibration, report)
    try:
        diagrams = {name: _reliability(counts, report[name]['temperature']) for name in ('before', 'after')}
        write_diagram(diagram, diagrams['before'], diagrams['after'])
    except UserError as error:
        if args.diagram is not None:
            raise
        warn([f'no diagram: {error}'])
    if not TEMPERATURES[0] * 1.01 < calibration.temperature < TEMPERATURES[1] / 1.01:
        warn(['the temperature is at the end of its range: use more or harder pairs'])
    print(_summary(report, path))
    return 0


def count_validation(detector: ChangeDetector, config: Config, data_root: str | None = None) -> LogitCounts:
    """Predict the validation split of a config."""
    counts = LogitCounts()
    pairs = LabelledPairs(config, data_root)
    for t1, t2, target in track(pairs, 'pairs', len(pairs)):
        counts.add(detector.probs(t1[None], t2[None], channel_order='bgr')[0], target)
    if not counts.counts.sum(axis=1).all():
        missing = 'changed' if counts.counts[0].sum() else 'unchanged'
        raise UserError(
            f'the validation split of {config.filename} contains no {missing} pixel: calibrate on one '
            'with both changed and unchanged pixels'
        )
    return counts


def calibrate(counts: LogitCounts, threshold: float) -> tuple[Calibration, dict[str, Any]]:
    """Fit temperature and threshold; the given threshold is the one used so far.

    Returns the figures before and after it as well, for people.
    """
    temperature = fit_temperature(counts)
    sweep = counts.sweep(temperature)
    best, scores = sweep.best
    old = counts.sweep(1.0)
    old_scores = old.confusions[
        min(range(len(old.thresholds)), key=lambda k: abs(old.thresholds[k] - threshold))
    ]
    report = {
        name: {
            'temperature': one,
            'threshold': at,
            'expected_calibration_error': _reliability(counts, one).error,
            'negative_log_likelihood': counts.loss(one),
            'f1': f1,
        }
        for name, one, at, f1 in (
            ('before', 1.0, threshold, old_scores.f1),
            ('after', temperature, best, scores.f1),
        )
    }
    extra = {'split': 'validation', 'pixels': int(counts.counts.sum()), 'hsonet_mm': __version__}
    return Calibration(temperature, best), {**report, **extra}


def _reliability(counts: LogitCounts, temperature: float) -> Any:
    return reliability(counts.probs(temperature), *counts.counts)


def _summary(report: dict[str, Any], path: Path) -> str:
    """A table of the result, and the paths of the files."""
    names = {
        'temperature': 'temperature',
        'threshold': 'threshold',
        'f1': 'changed F1',
        'expected_calibration_error': 'calibration error',
        'negative_log_likelihood': 'log-likelihood loss',
    }
    lines = [f'{report["pixels"]:,} pixels of the validation split', f'{"":<20} {"before":>9} {"after":>9}']
    lines += [
        f'{title:<20} {report["before"][key]:>9.4f} {report["after"][key]:>9.4f}'
        for key, title in names.items()
    ]
    return '\n'.join([*lines, f'Calibration: {path}'])
