"""Time and peak memory of EO-loss against binary cross entropy.

Forward and backward on random logits and integer labels: eo_loss as a function in its three forms, and the module in a
training step that does or does not log. Turning the labels into floating-point targets is part of BCE. Memory is the
most that is allocated at one moment beyond logits and labels, the gradient of the logits included.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.logging import MessageHub
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from hsonet_mm.benchmark.timing import alternate, header, speedups, spread, table
from hsonet_mm.models import EOLoss
from hsonet_mm.models.losses import EOWeighting, eo_loss

__all__ = ['add_arguments', 'run']

Loss = Callable[[Tensor, Tensor], Tensor]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the part ``losses``."""
    shape = (16, 512, 512)
    parser.add_argument('--shape', nargs=3, type=int, default=shape, metavar=('N', 'HEIGHT', 'WIDTH'))
    parser.add_argument('--rounds', type=int, default=15, help='measurements of each that count [15]')
    parser.add_argument('--zeta', type=float, default=0.5, help='annealing value, 0 to 1 [0.5]')


def run(args: argparse.Namespace) -> int:
    """Measure and print the table; returns 0."""
    n, height, width = args.shape
    device = get_device()
    torch.manual_seed(0)
    logits = (4 * torch.randn(n, 1, height, width, device=device)).requires_grad_()
    labels = (torch.rand(n, height, width, device=device) < 0.05).long()
    steps = {name: partial(_run, loss, logits, labels) for name, loss in _losses(args.zeta).items()}
    peaks = {name: _peak(step, logits) / 2**20 for name, step in steps.items()}
    seconds = alternate(steps, args.rounds, args.clock)
    slower = {name: [1 / ratio for ratio in ratios] for name, ratios in speedups(seconds, 'BCE').items()}
    print(f'Losses, forward and backward, logits of {n} x {height} x {width} on {device}')
    print(f'{header(args.rounds, args.clock)}\n')
    rows = [
        [
            name,
            f'{1e3 * median(seconds[name]):.2f}',
            spread(slower[name]),
            f'{peaks[name]:.2f}',
            f'{peaks[name] / peaks["BCE"]:.2f}',
        ]
        for name in steps
    ]
    print(table(['loss', 'ms', 'times BCE', 'peak, MiB', 'times BCE'], rows))
    return 0


def _losses(zeta: float) -> dict[str, Loss]:
    """Losses by name, BCE first."""
    module = EOLoss().train()

    def bce(logits: Tensor, labels: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float())

    def functional(logits: Tensor, labels: Tensor, weighting: EOWeighting) -> Tensor:
        return eo_loss(logits, labels, zeta, weighting)[0]

    def in_training(logits: Tensor, labels: Tensor, step: int) -> Tensor:
        hub = MessageHub.get_current_instance()
        hub.update_info_dict({'iter': step, 'max_iters': 16, 'loop_stage': 'train'})
        return module(logits, labels)

    return {
        'BCE': bce,
        'eo_loss, form all': partial(functional, weighting=EOWeighting('all')),
        'eo_loss, form background': partial(functional, weighting=EOWeighting('background')),
        'eo_loss, form top_share': partial(functional, weighting=EOWeighting('top_share')),
        'EOLoss': partial(in_training, step=8),
        'EOLoss, logging': partial(in_training, step=9),
    }


def _run(loss: Loss, logits: Tensor, labels: Tensor) -> None:
    logits.grad = None
    loss(logits, labels).backward()


def _peak(step: Callable[[], object], logits: Tensor) -> int:
    """Peak memory of a step in bytes."""
    logits.grad = None
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in profiler.profiler.kineto_results.events()
        if event.name() == '[memory]'
    )
    held = torch.tensor([change for _, change in changes]).cumsum(0)
    return int(held.max())
