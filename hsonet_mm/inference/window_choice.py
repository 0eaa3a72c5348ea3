"""The choice between predicting an image at once and sliding a window over it."""

from numbers import Integral

from hsonet_mm.errors import UserError
from hsonet_mm.inference.models import ChangeModel
from hsonet_mm.windows import Window, default_window

__all__ = ['WHOLE_PIXELS', 'WindowChoice', 'chosen_window', 'window_slides']

WHOLE_PIXELS = 2**21
"""Larger images go through a sliding window by default: 1448 x 1448, well above LEVIR-CD's 1024 x 1024. [choice]"""

WindowChoice = tuple[int | None, int | None] | str | None
"""``'whole'``; ``'slide'`` or ``(crop, stride)`` in pixels, each None for the model's default; or None for the default:
a window slides over large images only, and where ``model.test_cfg`` of the config says so."""


def chosen_window(model: ChangeModel, choice: WindowChoice) -> Window:
    """The window of a choice, completed by the model's defaults."""
    default = default_window(model.tile_size, model.crop_size)
    if choice in (None, 'whole', 'slide'):
        return default
    if (
        not isinstance(choice, tuple)
        or len(choice) != 2
        or not all(isinstance(one, (Integral, type(None))) for one in choice)
    ):
        raise UserError(f"invalid window {choice!r}: expected 'whole', 'slide' or (crop, stride)")
    crop, stride = choice
    size = default.size if crop is None else crop
    return default.chosen(size, None if stride is None else size - stride, '--crop')


def window_slides(model: ChangeModel, choice: WindowChoice, height: int, width: int) -> bool:
    """Whether an image of that size is predicted by a sliding window, not as a whole."""
    if choice is not None:
        return choice != 'whole'
    if model.tile_size is not None:
        return (height, width) != (model.tile_size,) * 2
    return not model.slides and height * width > WHOLE_PIXELS
