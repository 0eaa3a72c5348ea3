"""Shared by the losses: checks of labels and constants, ignored pixels, sums over processes."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from hsonet_mm.errors import UserError

__all__ = [
    'check_reduction',
    'known_pixels',
    'mean_of_class',
    'one_logit',
    'over_processes',
    'pixel_weights',
    'processes',
    'require',
    'size_balance',
]


def require(fits: bool, name: str, value: object, expected: str) -> None:
    """Raise an error for a constant that is out of range.

    Raises:
        UserError: if it is out of range.
    """
    if not fits:
        raise UserError(f'invalid {name} {value!r}: expected {expected}')


def known_pixels(pred: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Separate the pixels that count from the ignored ones.

    Logits are (N, C, *), classes (N, *) or (N, 1, *).

    Returns:
        Logits (N, C, *) in float32 or better, 0 where ignored even if they were NaN; classes (N, *), 0 where ignored;
        whether each pixel counts, (N, *).

    Raises:
        ValueError: for a label map whose shape does not fit the logits.
        UserError: for labels that `pred` has no class for.
    """
    target = _fitting(target, pred, 'target')
    ignored = _ignored_pixels(target, ignore_index, max(2, pred.shape[1]))
    logits = pred if pred.dtype == torch.float64 else pred.float()
    return logits.masked_fill(ignored.unsqueeze(1), 0), (target * ~ignored).long(), ~ignored


def one_logit(pred: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels in their type and which pixels count, all (N, *), of a head of one channel.

    Raises:
        UserError: for more channels, or other labels.
    """
    if pred.shape[1] != 1:
        raise UserError(
            f'the loss is for heads of one channel, not {pred.shape[1]}: set decode_head.out_channels=1, or use a loss '
            'of MMSegmentation'
        )
    logits, classes, known = known_pixels(pred, target, ignore_index)
    return logits.squeeze(1), classes.to(logits.dtype), known


def pixel_weights(weight: Tensor | None, pred: Tensor, known: Tensor) -> Tensor:
    """Weight of every pixel, (N, *) or (N, 1, *) or None for 1, as (N, *), 0 where it does not count.

    Raises:
        ValueError: for a shape that does not fit the logits.
    """
    dtype = torch.promote_types(pred.dtype, torch.float32)
    return known.to(dtype) if weight is None else _fitting(weight, pred, 'weight').to(dtype) * known


def check_reduction(reduction: str) -> None:
    """Raise an error for an unknown reduction."""
    if reduction not in ('none', 'mean', 'sum'):
        raise UserError(f'invalid reduction {reduction!r}: expected none, mean or sum')


def _fitting(values: Tensor, pred: Tensor, name: str) -> Tensor:
    """A label or weight map (N, *) or (N, 1, *) as (N, *), checked against logits (N, C, *)."""
    expected = pred.shape[:1] + pred.shape[2:]
    if values.shape != expected and values.ndim == pred.ndim and values.shape[1] == 1:
        values = values.squeeze(1)
    if values.shape != expected:
        raise ValueError(
            f'{name} of shape {tuple(values.shape)} does not fit logits of shape {tuple(pred.shape)}: '
            f'expected {tuple(expected)}'
        )
    return values


def _ignored_pixels(target: Tensor, ignore_index: int, classes: int) -> Tensor:
    """Whether each pixel is ignored; an error for labels that are neither a class nor ignored."""
    ignored = target == ignore_index
    known = ignored | ((target >= 0) & (target < classes))
    if not known.all():
        raise UserError(
            f'invalid label {int(target[~known][0])}: expected 0..{classes - 1} for this head; check '
            'num_classes of the head and the label files (0/1 or 0/255 for binary change)'
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

    The window has an odd side; all is (N, H, W).
    """
    smooth = torch.zeros_like(errors)
    for members in (foreground, ~foreground & valid):
        inside = members.to(errors.dtype)
        smooth = torch.where(members, _box(errors * inside, window) / _box(inside, window), smooth)
    return smooth


def size_balance(
    foreground: Tensor, valid: Tensor, window: int, exponent: float, dtype: torch.dtype
) -> Tensor:
    """Weights of the foreground by how rare it is nearby, so that small objects count; background has weight 1.

    With d the share of foreground among the valid pixels of the window around a pixel, it weighs d^-exponent, divided
    by the mean over the foreground of the batch (of all processes): a pixel of a small object, or of the outline of a
    large one, weighs more than one inside a large object.

    The window has an odd side; all is (N, H, W).
    """
    share = _count(foreground, window).to(dtype).div_(_count(valid, window))
    scarcity = share.pow_(-exponent).masked_fill_(~foreground, 0)
    number, total = over_processes(torch.stack([foreground.sum(), scarcity.sum()]))
    return scarcity.mul_(number / total).masked_fill_(~foreground, 1)


def _count(mask: Tensor, window: int) -> Tensor:
    """Number of true pixels in the window around each pixel: differences of running sums, whatever its size."""
    count, before, behind = mask.int(), window // 2 + 1, window // 2
    for dim, padding in ((-2, (0, 0, before, behind)), (-1, (before, behind))):
        size = count.shape[dim]
        count = F.pad(count, padding).cumsum_(dim)  # of integers: exact, and deterministic on GPUs
        count = count.narrow(dim, window, size) - count.narrow(dim, 0, size)
    return count


def _box(x: Tensor, window: int) -> Tensor:
    """Mean over the window around each pixel; what lies outside the image counts as 0."""
    rows = F.avg_pool2d(x, (window, 1), 1, (window // 2, 0))
    return F.avg_pool2d(rows, (1, window), 1, (0, window // 2))
