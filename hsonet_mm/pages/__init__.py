"""Shared parts of all pages: templates, style, colours of errors, embedded pictures."""

import base64
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from numpy.typing import NDArray

__all__ = ['COLOURS', 'data_url', 'draw_errors', 'encode', 'reduced', 'render']

COLOURS = {
    'found': (255, 255, 255),
    'false alarm': (230, 85, 60),
    'missed': (70, 150, 255),
    'unchanged, left alone': (0, 0, 0),
}
"""Colours (RGB) of true positives, false positives, false negatives and true negatives.

Blue and orange are told apart by the colour-blind too."""

STYLE = Path(__file__).with_name('style.css')
"""Style sheet of the demo and of leaderboards."""


def draw_errors(pred: NDArray[np.bool_], label: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour every pixel as true or false, positive or negative, see COLOURS.

    Prediction and label are (H, W), the picture (H, W, 3) in BGR.
    """
    found, alarm, missed, rest = np.array(list(COLOURS.values()), np.uint8)[:, ::-1]
    pred, label = pred[..., None], label[..., None]
    return np.where(label, np.where(pred, found, missed), np.where(pred, alarm, rest))


def reduced(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A picture reduced to a maximum side length."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA), np.uint8)


def encode(image: NDArray[np.uint8], suffix: str, quality: int = 95) -> bytes:
    """A picture, (H, W) or (H, W, 3) in BGR, as a file: ``.jpg`` of this quality, or ``.png``."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == '.jpg' else []
    done, data = cv2.imencode(suffix, np.ascontiguousarray(image), options)
    assert done
    return data.tobytes()


def data_url(image: NDArray[np.uint8], suffix: str, quality: int = 95) -> str:
    """A picture, see :func:`encode`, as a data URL."""
    kind = 'jpeg' if suffix == '.jpg' else 'png'
    return f'data:image/{kind};base64,{base64.b64encode(encode(image, suffix, quality)).decode()}'


def render(template: str, **values: Any) -> str:
    """Render a template with HTML escaping; ``style`` and ``colours`` are available in it.

    The path of the template is that in this package; ``filters`` are functions that it calls, by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1]),
        autoescape=jinja2.select_autoescape(('html.j2',)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {'data_url': data_url, **values.pop('filters', {})}
    style = STYLE.read_text(encoding='utf-8')
    return environment.get_template(template).render(style=style, colours=COLOURS, **values)
