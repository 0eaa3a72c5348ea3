"""Time and peak memory of EO-loss against binary cross entropy: python tools/benchmark_eo_loss.py.

Forward and backward on random logits and integer labels, in turns in one process: eo_loss as a function in
its three forms, and the module in a training step that does or does not log. Turning the labels into
floating-point targets is part of BCE. Time is the median of the repeats; memory is the most that is allocated
at one moment beyond logits and labels, the gradient of the logits included.

On a CPU much of the time goes into fresh memory pages, more or fewer by chance. With glibc the figures are
steadier under MALLOC_MMAP_THRESHOLD_=8000000000 MALLOC_TRIM_THRESHOLD_=8000000000,
which keep freed memory in the process.
"""

import argparse
import time
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from torch.profiler import ProfilerActivity, profile

from hsonet_mm.models import EOLoss
from hsonet_mm.models.losses import EOWeighting, eo_loss


def bce(logits, labels):
    return F.binary_cross_entropy_with_logits(logits.squeeze(1), labels.float())


def contenders(zeta):
    """Functions (logits, labels) -> loss by name, BCE first."""
    module = EOLoss().train()

    def in_training(step):
        def loss(logits, labels):
            hub = MessageHub.get_current_instance()
            hub.update_info_dict({'iter': step, 'max_iters': 16, 'loop_stage': 'train'})
            return module(logits, labels)

        return loss

    return {
        'BCE': bce,
        **{
            f'eo_loss, form {form}': partial(functional, zeta=zeta, weighting=EOWeighting(form))
            for form in ('all', 'background', 'top_share')
        },
        'EOLoss': in_training(8),
        'EOLoss, logging': in_training(9),
    }


def functional(logits, labels, **kwargs):
    return eo_loss(logits, labels, **kwargs)[0]


def run(loss, logits, labels):
    logits.grad = None
    loss(logits, labels).backward()


def seconds(loss, logits, labels):
    synchronise = torch.cuda.synchronize if logits.is_cuda else lambda: None
    synchronise()
    start = time.perf_counter()
    run(loss, logits, labels)
    synchronise()
    return time.perf_counter() - start


def peak_bytes(loss, logits, labels):
    logits.grad = None
    if logits.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(loss, logits, labels)
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run(loss, logits, labels)
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in profiler.profiler.kineto_results.events()
        if event.name() == '[memory]'
    )
    held = torch.tensor([change for _, change in changes]).cumsum(0)
    return int(held.max())


def main():
    parser = argparse.ArgumentParser(
        description='Time and peak memory of EO-loss against binary cross entropy.'
    )
    parser.add_argument(
        '--shape', nargs=3, type=int, default=(16, 512, 512), metavar=('N', 'HEIGHT', 'WIDTH')
    )
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--zeta', type=float, default=0.5, help='annealing value, 0 to 1')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()

    n, height, width = args.shape
    torch.manual_seed(0)
    logits = (4 * torch.randn(n, 1, height, width, device=args.device)).requires_grad_()
    labels = (torch.rand(n, height, width, device=args.device) < 0.05).long()
    losses = contenders(args.zeta)
    peaks = {name: peak_bytes(loss, logits, labels) for name, loss in losses.items()}  # also warms up
    times = {name: [] for name in losses}
    for _ in range(args.repeats):
        for name, loss in losses.items():
            times[name].append(seconds(loss, logits, labels))

    print(f'{n} x {height} x {width} logits on {args.device}, {args.repeats} repeats')
    width = max(map(len, losses))
    print(f'{"":{width}}{"time (ms)":>12}{"ratio":>8}{"peak (MiB)":>12}{"ratio":>8}')
    for name in losses:
        ms, mib = 1e3 * median(times[name]), peaks[name] / 2**20
        slower, larger = median(times[name]) / median(times['BCE']), peaks[name] / peaks['BCE']
        print(f'{name:{width}}{ms:12.2f}{slower:8.2f}{mib:12.2f}{larger:8.2f}')


if __name__ == '__main__':
    main()
