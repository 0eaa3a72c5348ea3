"""Finding image pairs, drawing predictions and writing them."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hsonet_mm.errors import UserError
from hsonet_mm.files import write_files
from hsonet_mm.images import IMAGE_SUFFIXES
from hsonet_mm.index import belongs, by_stem

__all__ = ['draw_overlay', 'find_pairs', 'folders_left_out', 'write_png', 'write_pngs']

TINT = (60, 20, 220)
"""Colour of changed regions in overlays, BGR: crimson, rare in aerial images."""


def find_pairs(t1: Path, t2: Path) -> list[tuple[str, Path, Path]]:
    """Match the images of two dates.

    Args:
        t1: An image of the first date, or a folder of them.
        t2: The same of the second date; files of two folders belong together by their names without ending.

    Returns:
        Name, first and second path of each pair, by name. A single pair has the name of its second image.
    """
    for path in (t1, t2):
        if not path.exists():
            elsewhere = re.match(r'/vsi\w+/|\w{2,}:/', str(path))
            raise UserError(
                f'{path} is not a file on this machine: copy it here, or use hsonet scene, which opens such names'
                if elsewhere
                else f'{path} does not exist: give two images or two folders of images'
            )
        if not path.is_file() and not path.is_dir():
            raise UserError(f'{path} is a pipe or a device: give two images or two folders of images')
    if t1.is_dir() != t2.is_dir():
        raise UserError(f'{t1} and {t2} are a folder and a file: give two images or two folders of images')
    if t1.is_file():
        return [(t2.stem, t1, t2)]
    first, second = _images(t1), _images(t2)
    alone = [first[stem] for stem in sorted(first.keys() - second.keys())]
    alone += [second[stem] for stem in sorted(second.keys() - first.keys())]
    if alone:
        others = f' and {len(alone) - 1} more have' if len(alone) > 1 else ' has'
        raise UserError(
            f'{alone[0]}{others} no image of the same name at the other date: add it, or remove the file'
        )
    return [(stem, first[stem], second[stem]) for stem in sorted(first)]


def _images(folder: Path) -> dict[str, Path]:
    files = (path.name for path in folder.iterdir() if path.is_file() or path.is_symlink())
    images = by_stem(files, folder=f'{folder}/')
    if not images:
        below = folders_left_out(folder)
        raise UserError(
            f'{folder} contains no image ({", ".join(IMAGE_SUFFIXES)}): give a folder with images'
            + (f', such as {below[0]}' if below else '')
        )
    return {stem: folder / name for stem, name in images.items()}


def folders_left_out(folder: Path) -> list[Path]:
    """Subfolders of a folder of images that contain images, which are not predicted; unreadable ones do not count."""
    found = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.')):
        with suppress(PermissionError):
            if any(belongs(file.name) for file in path.iterdir()):
                found.append(path)
    return found


def draw_overlay(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Tint and outline the changed regions of an image (H, W, 3) in BGR."""
    overlay = image.copy()
    overlay[mask] = (0.6 * image[mask] + 0.4 * np.array(TINT)).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(min(mask.shape) / 512))
    cv2.drawContours(overlay, contours, -1, TINT, thickness)
    return overlay


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image in one step, see :func:`write_pngs`."""
    write_pngs({path: image})


def write_pngs(images: Mapping[Path, NDArray[np.uint8]]) -> None:
    """Write images, (H, W) or (H, W, 3) in BGR, all or none, see :func:`~hsonet_mm.files.write_files`."""
    contents = dict[Path, bytes]()
    for path, image in images.items():
        done, data = cv2.imencode('.png', image)
        assert done
        contents[path] = data.tobytes()
    write_files(contents)
