"""What the losses share: labels that fit the logits, and pixels that do not count."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from hsonet_mm.errors import UserError

__all__ = [
    'check_reduction',
    'fitting',
    'ignored_pixels',
    'mean_of_class',
    'one_logit',
    'over_processes',
    'pixel_weights',
    'processes',
]


def one_logit(pred: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """What a loss of "changed" for heads of one channel works with.

    Args:
        pred: logits (N, 1, *).
        target: labels 0, 1 and `ignore_index`, (N, *) or (N, 1, *).
        ignore_index: label of pixels that do not count.

    Returns:
        Logits in float32 or better, 0 where ignored, whatever they were; labels, 1 where changed and else 0; which
        pixels count. All (N, *).

    Raises:
        UserError: for more channels, or other labels.
    """
    if pred.shape[1] != 1:
        raise UserError(
            f'the loss is for heads of one channel and gets {pred.shape[1]}: set decode_head.out_channels=1, '
            'or take a loss of MMSegmentation'
        )
    target = fitting(target, pred, 'target')
    known = ~ignored_pixels(target, ignore_index, classes=2)
    logits = (pred if pred.dtype == torch.float64 else pred.float()).squeeze(1).masked_fill(~known, 0)
    return logits, ((target == 1) & known).to(logits.dtype), known


def pixel_weights(weight: Tensor | None, pred: Tensor, known: Tensor) -> Tensor:
    """Weight of every pixel, 0 where it does not count.

    Args:
        weight: (N, *) or (N, 1, *), or None for 1 everywhere.
        pred: logits (N, 1, *).
        known: which pixels count, (N, *).

    Raises:
        ValueError: for a shape that does not fit the logits.
    """
    dtype = torch.promote_types(pred.dtype, torch.float32)
    return known.to(dtype) if weight is None else fitting(weight, pred, 'weight').to(dtype) * known


def check_reduction(reduction: str) -> None:
    """Refuse a reduction that is not one.

    Args:
        reduction: ``none``, ``mean`` or ``sum``.

    Raises:
        UserError: for another one.
    """
    if reduction not in ('none', 'mean', 'sum'):
        raise UserError(f'invalid reduction {reduction!r} of a loss: expected none, mean or sum')


def fitting(values: Tensor, pred: Tensor, name: str) -> Tensor:
    """Bring a label or weight map of shape (N, *) or (N, 1, *) to (N, *).

    Args:
        values: the map.
        pred: logits (N, C, *) that it belongs to.
        name: what messages call it.

    Raises:
        ValueError: for a shape that does not fit the logits.
    """
    expected = pred.shape[:1] + pred.shape[2:]
    if values.shape != expected and values.ndim == pred.ndim and values.shape[1] == 1:
        values = values.squeeze(1)
    if values.shape != expected:
        raise ValueError(
            f'{name} of shape {tuple(values.shape)} does not fit logits of shape {tuple(pred.shape)}: '
            f'expected {tuple(expected)}'
        )
    return values


def ignored_pixels(target: Tensor, ignore_index: int, classes: int) -> Tensor:
    """Where pixels are ignored.

    Args:
        target: labels of any shape.
        ignore_index: label of the pixels that do not count.
        classes: number of classes of the head.

    Raises:
        UserError: for labels that are neither a class nor ignored.
    """
    ignored = target == ignore_index
    known = ignored | ((target >= 0) & (target < classes))
    if not known.all():
        raise UserError(
            f'labels must be 0..{classes - 1} for this head, but {int(target[~known][0])} occurs: check num_classes of '
            'the head and the label files (0/1 or 0/255 for binary change)'
        )
    return ignored


def processes() -> int:
    """Number of processes of the training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def over_processes(value: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> Tensor:
    """Reduce a tensor, in place, over the processes of a distributed training."""
    if processes() > 1:
        dist.all_reduce(value, operation)
    return value


def mean_of_class(errors: Tensor, foreground: Tensor, valid: Tensor, window: int) -> Tensor:
    """Mean error of the pixels of the same class in the window around each valid pixel; 0 elsewhere.

    Args:
        errors: error of every pixel.
        foreground: whether its class is not 0.
        valid: whether it counts.
        window: side of the window in pixels, odd.

    Shapes:
        All (N, H, W).
    """

    def box(x: Tensor) -> Tensor:
        rows = F.avg_pool2d(x, (window, 1), 1, (window // 2, 0))
        return F.avg_pool2d(rows, (1, window), 1, (0, window // 2))

    smooth = torch.zeros_like(errors)
    for members in (foreground, ~foreground & valid):
        inside = members.to(errors.dtype)
        smooth = torch.where(members, box(errors * inside) / box(inside), smooth)
    return smooth
