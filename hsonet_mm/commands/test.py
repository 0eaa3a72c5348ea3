"""``hsonet test``: score a checkpoint on the test split."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch import Tensor

from hsonet_mm import components  # noqa: F401
from hsonet_mm.bands import config_reading, set_reading
from hsonet_mm.checkpoints import load_weights, read_checkpoint
from hsonet_mm.commands.options import warn
from hsonet_mm.config import add_config_arguments, load_config, set_up_loaders
from hsonet_mm.engine.training import end_workers
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation import ChangeMetric, HardCaseMetric
from hsonet_mm.evaluation.change_metric import change_probs
from hsonet_mm.files import require_writable, write_json
from hsonet_mm.inference.calibration import read_calibration
from hsonet_mm.memory import keep_memory

__all__ = ['add_arguments', 'apply_protocol', 'evaluate', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet test``."""
    add_config_arguments(parser)
    parser.add_argument(
        'checkpoint',
        type=Path,
        help='checkpoint (.pth); or a model exported with --fp16 or the name of a packaged model, whose network then '
        "replaces the config's",
    )
    parser.add_argument(
        '--protocol',
        help='test protocol of the config, whole or tiles_256, in place of its model.test_cfg (whole in the configs of '
        'this project)',
    )
    parser.add_argument(
        '--threshold',
        default=None,
        help='probability above which a pixel is changed, after calibration if there is one, or "val" for the best one '
        'on the validation split [calibrated, else that of validation stored in the checkpoint, else that of the '
        'config]',
    )
    parser.add_argument('-o', '--out', type=Path, help='JSON file of the scores')
    parser.add_argument('--show-dir', type=Path, help='folder for a picture of every prediction')


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet test``; returns the exit code."""
    keep_memory()
    require_writable(args.out)
    cfg = load_config(args)
    checkpoint = read_checkpoint(args.checkpoint)
    if checkpoint.exported is not None and checkpoint.exported.network is not None:
        cfg.model = checkpoint.exported.network['model']
    reading, notes = config_reading(cfg).over(checkpoint.reading)
    set_reading(cfg, reading)
    warn(notes)
    apply_protocol(cfg, args.protocol)
    ours = [
        one
        for one in evaluators(cfg, 'test')
        if one.get('type') in ('ChangeMetric', 'hsonet_mm.ChangeMetric')
    ]
    if args.out is not None and ours:
        ours[0].out_file = str(args.out)
    scores, threshold = evaluate(cfg, checkpoint.path, args.threshold, args.show_dir)
    if args.out is not None and not ours:
        write_json(args.out, {name: float(score) for name, score in scores.items()})  # some are NumPy's
    if 'changed/f1' in scores:
        if 'changed/f1_at_0.5' in scores:
            print(f'changed F1 {scores["changed/f1_at_0.5"]:.4f} at threshold 0.5')
        print(f'changed F1 {scores["changed/f1"]:.4f}{threshold and f" at threshold {threshold}"}')
    else:
        print(', '.join(f'{name} {score:.4f}' for name, score in scores.items()))
    return 0


def evaluators(cfg: Config, split: str) -> list[Any]:
    """All evaluators of a split, ``'val'`` or ``'test'``, as a list."""
    found = cfg.get(f'{split}_evaluator') or []
    return found if isinstance(found, list) else [found]


def apply_protocol(cfg: Config, name: str | None) -> None:
    """Select one of the config's test protocols, or keep its ``model.test_cfg``, and name it in the report.

    Args:
        cfg: The config, changed in place; one without protocols, as those of other projects, stays as it is.
        name: Of the protocol; None keeps ``model.test_cfg``. Without protocols, ``whole`` or None.
    """
    protocols = cfg.get('protocols', {})
    if name in (None, 'whole') and not protocols:
        return
    if name is None:
        same = (one for one, test_cfg in protocols.items() if test_cfg == cfg.model.get('test_cfg'))
        name = next(same, 'model.test_cfg')
    elif name not in protocols:
        raise UserError(f"invalid --protocol '{name}': expected one of {', '.join(protocols) or 'none'}")
    else:
        cfg.model.test_cfg = protocols[name]
    for evaluator in (*evaluators(cfg, 'val'), *evaluators(cfg, 'test')):
        if 'protocol' in evaluator:
            evaluator.protocol = name


def evaluate(
    cfg: Config,
    checkpoint: Path,
    threshold: float | str | None = None,
    show_dir: Path | None = None,
    calibrated: bool = True,
) -> tuple[dict[str, Any], str]:
    """Score a checkpoint on the config's test split.

    Returns scores by name, and the threshold with its source in words, empty where it is the config's.

    Args:
        cfg: config of the model and data.
        checkpoint: file of its weights.
        threshold: probability above which a pixel is changed; ``'val'`` chooses the one with the best F1 on the
            validation split first; None takes that of the calibration beside the checkpoint, the one of validation
            that the checkpoint carries, or else keeps the config's. One that an evaluator of the config names stays,
            unless another is given here.
        show_dir: folder for a picture of every prediction of the test split.
        calibrated: whether a calibration beside the checkpoint counts; all thresholds are then of calibrated
            probabilities.

    Raises:
        UserError: for a threshold outside (0, 1) or that the config has no use for, pictures that it does not draw, or
            a checkpoint that does not fit.
    """
    chosen = _parse_threshold(threshold)
    splits = ('val', 'test') if chosen == 'val' else ('test',)
    for split in splits:
        if not cfg.get(f'{split}_dataloader'):
            raise UserError(f'{cfg.filename} has no {split}_dataloader: add one')
    cfg.load_from, cfg.resume = None, False
    cfg.setdefault('default_hooks', {})['checkpoint'] = None  # nothing is trained, so nothing is saved
    if show_dir is not None and cfg.get('visualizer'):
        local = 'CDLocalVisBackend' if cfg.visualizer.type == 'CDLocalVisualizer' else 'LocalVisBackend'
        cfg.visualizer.vis_backends = [{'type': local, 'save_dir': str(show_dir)}]
    set_up_loaders(cfg, *splits)
    runner = Runner.from_cfg(cfg)
    drawing = [hook for hook in runner.hooks if hasattr(hook, 'draw')]
    if show_dir is not None and not (drawing and cfg.get('visualizer')):
        raise UserError(
            f'--show-dir requires a visualizer and a visualization hook, which {cfg.filename} lacks: add '
            'them, or leave the option out'
        )
    model = getattr(runner.model, 'module', runner.model)
    loaded = load_weights(model, checkpoint)
    calibration = read_calibration(loaded.path) if calibrated else None
    temperature = 1.0 if loaded.exported is None else loaded.exported.temperature
    if calibration is not None:
        temperature *= calibration.temperature
    if temperature != 1:
        _divide_logits(model, temperature)
    if chosen == 'val':
        value, source = runner.val().get('changed/best_threshold'), 'best on the validation split'
        if value is None:
            raise UserError(
                f'--threshold val requires hsonet_mm.ChangeMetric as val_evaluator, which {cfg.filename} '
                'lacks: add it or give a number'
            )
    elif chosen is not None:
        value, source = chosen, 'given'
    ours = [one for one in runner.test_evaluator.metrics if isinstance(one, (ChangeMetric, HardCaseMetric))]
    if chosen is None:
        ours = [one for one in ours if one.threshold is None]
        value, source = None, ''
        if ours and calibration is not None:
            value, source = calibration.threshold, f'calibrated ({calibration.name})'
        elif ours and loaded.threshold is not None:
            value, source = loaded.threshold
    elif not ours and model.decode_head.out_channels > 1:
        raise UserError(
            f'--threshold requires hsonet_mm.ChangeMetric as test_evaluator, which {cfg.filename} lacks, '
            'or a head of one channel: leave it out'
        )
    if value is not None:
        runner.logger.info(f'Threshold {value:.3f} ({source})')
        for metric in ours:
            metric.threshold = float(value)
        model.decode_head.threshold = value  # one channel: pictures, and metrics that are not ours
        if model.decode_head.out_channels > 1:
            runner.register_hook(_Threshold(float(value)))
    if show_dir is not None:
        for hook in drawing:
            hook.draw = True
    scores = runner.test()
    end_workers(runner)
    return scores, '' if value is None else f'{value:.4g} ({source})'


def _divide_logits(model: Any, temperature: float) -> None:
    """Make a model of MMSegmentation or Open-CD divide its logits before they become probabilities and pictures."""
    finish = model.postprocess_result

    def calibrated(seg_logits: Tensor, *args: Any, **kwargs: Any) -> Any:
        return finish(seg_logits / temperature, *args, **kwargs)

    model.postprocess_result = calibrated


class _Threshold(Hook):
    """Applies a threshold to the pictures of a head of two channels, which has none."""

    priority = 'VERY_HIGH'  # before the hook that draws

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def after_test_iter(self, *_: Any, outputs: Sequence[Any] = (), **__: Any) -> None:
        for sample in outputs:
            changed = change_probs(sample.seg_logits.data) > self.threshold
            sample.pred_sem_seg = PixelData(data=changed[None].long())


def _parse_threshold(threshold: float | str | None) -> float | str | None:
    if threshold is None or threshold == 'val':
        return threshold
    try:
        value = float(threshold)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UserError(f'invalid --threshold {threshold}: expected a number between 0 and 1, or val')
    return value
