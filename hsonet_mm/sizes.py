"""Sizes of images that a network can halve and double again."""

from torch import Tensor

from hsonet_mm.errors import UserError

__all__ = ['check_multiple']


def check_multiple(network: str, image: Tensor, factor: int) -> None:
    """Make sure that both sides of a batch of images (N, C, H, W) are multiples of a number.

    Raises:
        UserError: if one is not.
    """
    height, width = image.shape[-2:]
    if height % factor or width % factor:
        raise UserError(
            f'{network} halves its input down to 1/{factor} and got {height} x {width} pixels: pad to multiples of '
            f'{factor}, e.g. by size_divisor=32 in the data preprocessor, also in its test_cfg; a sliding window needs '
            'such a crop_size (--crop)'
        )
