"""Sizes of images that a network can halve and double again."""

from torch import Tensor

from hsonet_mm.errors import UserError

__all__ = ['check_multiple']


def check_multiple(network: str, image: Tensor, factor: int) -> None:
    """Make sure that both sides of a batch of images (N, C, H, W) are multiples of a number."""
    height, width = image.shape[-2:]
    if height % factor or width % factor:
        raise UserError(
            f'invalid input of {height} x {width} pixels for {network}, which reduces it to 1/{factor}: '
            f'pad to multiples of {factor}, such as by size_divisor=32 in the data preprocessor and its '
            'test_cfg, or set such a crop_size (--crop)'
        )
