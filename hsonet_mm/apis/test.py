"""``hsonet test``: score a checkpoint on the test split."""

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import Config

from hsonet_mm.apis.checkpoints import load_weights
from hsonet_mm.apis.config import add_config_arguments, apply_protocol, build_runner, load_config
from hsonet_mm.errors import UserError

__all__ = ['add_arguments', 'evaluate', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``hsonet test``."""
    add_config_arguments(parser)
    parser.add_argument('checkpoint', type=Path, help='checkpoint file')
    parser.add_argument('--protocol', default='whole', help='test protocol of the config: whole, tiles_256')
    parser.add_argument(
        '--threshold',
        default=None,
        help='probability above which a pixel is changed, or "val" for the best one on the validation split '
        '(default: the one in the config)',
    )
    parser.add_argument('--out', type=Path, help='JSON file of the scores')
    parser.add_argument('--show-dir', type=Path, help='folder for a picture of every prediction')


def run(args: argparse.Namespace) -> int:
    """Test as the command line says; returns the exit code."""
    cfg = load_config(args)
    apply_protocol(cfg, args.protocol)
    if args.out is not None:
        evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
        evaluators[0].out_file = str(args.out)
    scores = evaluate(cfg, args.checkpoint, args.threshold, args.show_dir)
    print(f'changed F1 {scores["changed/f1"]:.4f}')
    return 0


def evaluate(
    cfg: Config, checkpoint: Path, threshold: float | str | None = None, show_dir: Path | None = None
) -> dict[str, Any]:
    """Score a checkpoint on the config's test split.

    Args:
        cfg: config of the model and data.
        checkpoint: file of its weights.
        threshold: probability above which a pixel is changed; ``'val'`` chooses the one with the best F1 on the
            validation split first; None keeps the config's.
        show_dir: folder for a picture of every prediction of the test split.

    Returns:
        Scores by name, as the evaluators report them.

    Raises:
        UserError: for a threshold outside (0, 1), or a checkpoint that does not fit.
    """
    chosen = _parse_threshold(threshold)
    cfg.load_from, cfg.resume = None, False
    cfg.setdefault('default_hooks', {})['checkpoint'] = None  # nothing is trained, so nothing is saved
    if show_dir is not None:
        cfg.visualizer.vis_backends = [{'type': 'CDLocalVisBackend', 'save_dir': str(show_dir)}]
    runner = build_runner(cfg)
    model = getattr(runner.model, 'module', runner.model)
    load_weights(model, checkpoint)
    if chosen == 'val':
        chosen = runner.val()['changed/best_threshold']
        runner.logger.info(f'Threshold chosen on the validation split: {chosen:.3f}')
    if chosen is not None:
        model.decode_head.threshold = chosen  # of the pictures
        for metric in runner.test_evaluator.metrics:  # counts, also of heads without a threshold
            metric.threshold = chosen
    if show_dir is not None:
        for hook in runner.hooks:
            if hasattr(hook, 'draw'):
                hook.draw = True
    return runner.test()


def _parse_threshold(threshold: float | str | None) -> float | str | None:
    if threshold is None or threshold == 'val':
        return threshold
    try:
        value = float(threshold)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UserError(
            f'--threshold {threshold} is not a probability: give a number between 0 and 1, or "val"'
        )
    return value
