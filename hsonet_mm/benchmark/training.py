"""Seconds of a training step of several configs, each in a precision of its own."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from hsonet_mm.benchmark.timing import alternate, header, speedups, spread, table
from hsonet_mm.config import read_config
from hsonet_mm.engine.mixed_precision import PRECISIONS, set_precision
from hsonet_mm.machine import has_bf16
from hsonet_mm.model_size import build_untrained
from hsonet_mm.opencd import compat

__all__ = ['add_arguments', 'run']

CONFIGS = Path(__file__).parents[2] / 'configs'
BASELINE = CONFIGS / 'baselines' / 'farseg_r18.py'
OURS = (CONFIGS / 'hsonet_levir.py', CONFIGS / 'hsonet_lite_levir.py')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the part ``training``."""
    parser.add_argument(
        'contenders',
        nargs='*',
        metavar='CONFIG[:PRECISION]',
        help="configs, in float32 or in a precision of --amp; the first is the reference [ChangeStar's FarSeg, "
        'HSONet and HSONet-lite, ours also in bf16 where the device computes in it]',
    )
    parser.add_argument('--batch', type=int, default=4, help='pairs of a step [4]')
    parser.add_argument('--size', type=int, default=256, help='pixels on a side [256]')
    parser.add_argument('--rounds', type=int, default=11, help='steps of each that count [11]')


def run(args: argparse.Namespace) -> int:
    """Measure and print the table; returns 0."""
    contenders = args.contenders or _default_contenders()
    steps = {name: _step(name, args.batch, args.size) for name in contenders}
    seconds = alternate(steps, args.rounds, args.clock)
    reference = contenders[0]
    print(f'Training step, {args.batch} x {args.size} x {args.size}, random weights and images')
    print(
        f'{header(args.rounds, args.clock)}; Open-CD is {"its own" if compat.OPENCD_AVAILABLE else "our stand-in"}\n'
    )
    ratios = speedups(seconds, reference)
    rows = [[Path(name).name, spread(seconds[name], 3), spread(ratios[name])] for name in steps]
    print(table(['config', 'seconds', f'times as fast as {Path(reference).name}'], rows))
    return 0


def _default_contenders() -> list[str]:
    contenders = [str(BASELINE), *map(str, OURS)]
    if get_device() == 'cuda' or has_bf16() is not False:
        contenders += [f'{path}:bf16' for path in OURS]
    return contenders


def _step(name: str, batch: int, size: int) -> Callable[[], object]:
    """A training step of a contender: preprocessing, forward and backward pass, update of the weights."""
    path, _, precision = name.rpartition(':')
    if precision not in PRECISIONS:
        path, precision = name, 'off'
    cfg = read_config(path)
    set_precision(cfg, precision)
    torch.manual_seed(0)
    model: Any = build_untrained(Path(path)).to(get_device()).train()
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('ERROR')  # else the settings of every weight are told
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'opencd')):
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    logger.setLevel(level)
    pairs = [torch.randint(0, 256, (6, size, size), dtype=torch.uint8) for _ in range(batch)]
    labels = [(torch.rand(1, size, size) < 0.05).long() for _ in range(batch)]
    meta = {'img_shape': (size, size), 'ori_shape': (size, size)}

    def step() -> object:
        # EO-loss asks how far the training is.
        hub = {'iter': 50, 'max_iters': 100, 'loop_stage': 'train'}
        MessageHub.get_current_instance().update_info_dict(hub)
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=meta) for label in labels]
        return model.train_step({'inputs': pairs, 'data_samples': samples}, optim_wrapper)

    return step
