"""Drawing predictions during validation and test."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

import mmcv
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import LocalVisBackend, force_init_env
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from hsonet_mm.opencd.registry import HOOKS, VISBACKENDS, VISUALIZERS

__all__ = ['CDLocalVisBackend', 'CDLocalVisualizer', 'CDVisualizationHook']


@VISBACKENDS.register_module()
class CDLocalVisBackend(LocalVisBackend):
    """Writes each picture under its own name, without the step: the last one stays."""

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:  # noqa: ARG002
        """Write a picture, (H, W, 3) in RGB; the name may have a folder."""
        mmcv.imwrite(mmcv.rgb2bgr(image), str(Path(self._img_save_dir) / f'{name}.png'))


@VISUALIZERS.register_module()
class CDLocalVisualizer(SegLocalVisualizer):
    """MMSegmentation's visualizer with Open-CD's argument for the images of both dates."""

    def add_datasample(  # type: ignore[override]
        self,
        name: str,
        image: np.ndarray,
        image_from_to: Sequence[np.ndarray] = (),  # noqa: ARG002 (only for semantic change)
        data_sample: SegDataSample | None = None,
        *args: Any,
        with_labels: bool = False,
        **kwargs: Any,
    ) -> None:
        """Draw the label and the prediction of a sample side by side."""
        super().add_datasample(name, image, data_sample, *args, with_labels=with_labels, **kwargs)


@HOOKS.register_module()
class CDVisualizationHook(Hook):
    """Draw predictions in validation and test, black and white, each at its image's own size.

    Args:
        img_shape: Not used, accepted for Open-CD's configs: the size is taken from every prediction.
        draw_on_from_to_img: Not used, accepted for Open-CD's configs; concerns semantic change.
        draw: Whether to draw at all.
        interval: Draw every so many batches.
        show: Whether to show the pictures in a window instead of writing them.
        wait_time: Seconds to show a picture.
        backend_args: Not used, accepted for Open-CD's configs: no file is read.
    """

    def __init__(
        self,
        img_shape: tuple[int, int, int] | None = None,  # noqa: ARG002
        draw_on_from_to_img: bool = False,  # noqa: ARG002
        draw: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        backend_args: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> None:
        self.draw = draw
        self.interval = interval
        self.show = show
        self.wait_time = wait_time

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,  # noqa: ARG002
        outputs: Sequence[SegDataSample] | None = None,  # type: ignore[override]
        mode: str = 'train',
    ) -> None:
        """Draw the predictions of a batch."""
        if not self.draw or mode == 'train' or not self.every_n_inner_iters(batch_idx, self.interval):
            return
        for sample in outputs or ():
            runner.visualizer.add_datasample(
                _name(*sample.img_path),
                np.zeros((*sample.pred_sem_seg.shape, 3), np.uint8),
                data_sample=sample,
                draw_gt=False,
                show=self.show,
                wait_time=self.wait_time,
                step=runner.iter,
            )


def _name(path_t1: str, path_t2: str) -> str:
    """The name of a pair, with the folders below those of the dates: what the ends of its paths share."""
    t1, t2 = (PurePath(path).with_suffix('').parts for path in (path_t1, path_t2))
    shared = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(t1[::-1], t2[::-1], strict=False))]
    return '/'.join(shared[::-1]) if 0 < len(shared) < len(t1) else t1[-1]
