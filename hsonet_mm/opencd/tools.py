"""What ``browse_dataset.py`` of Open-CD 1.1 lacks: it is MMSegmentation's tool as it was, for one image and one path.

Without these cures it fails on every config, Open-CD's own included.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.registry import init_default_scope

__all__ = ['PathPair', 'cure_tools']


class PathPair(list):
    """The paths of both dates; where one path is asked for, it is that of the first."""

    def __fspath__(self) -> str:
        return str(self[0])


def cure_tools() -> None:
    """Make the tools build data sets in Open-CD's scope, draw without images of both dates, and name pairs."""
    utils: Any = importlib.import_module('mmseg.utils')
    utils.register_all_modules = lambda *_, **__: init_default_scope('opencd')
    visualizer = importlib.import_module('opencd.visualization').CDLocalVisualizer
    visualizer.add_datasample = _images_optional(visualizer.add_datasample)
    pack = importlib.import_module('opencd.datasets.transforms').MultiImgPackSegInputs
    pack.transform = _paths_as_one(pack.transform)


def _images_optional(add_datasample: Callable[..., None]) -> Callable[..., None]:
    def add(
        visualizer: Any, name: str, image: Any, image_from_to: Sequence[Any] = (), *args: Any, **kwargs: Any
    ) -> None:
        add_datasample(visualizer, name, image, image_from_to, *args, **kwargs)

    return add


def _paths_as_one(transform: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def packed(pack: Any, results: dict[str, Any]) -> dict[str, Any]:
        sample = transform(pack, results)
        sample['data_samples'].set_metainfo({'img_path': PathPair(results['img_path'])})
        return sample

    return packed
