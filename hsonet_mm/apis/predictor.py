"""A trained model, ready for pairs of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import nn

from hsonet_mm.apis.checkpoints import load_weights
from hsonet_mm.apis.images import size
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.change_metric import change_probs

__all__ = ['Prediction', 'Predictor']


@dataclass(frozen=True)
class Prediction:
    """What a model says about one pair.

    Attributes:
        probs: Probability of change, (H, W) float32 in [0, 1].
        mask: Where it is above the threshold, (H, W) bool.
    """

    probs: NDArray[np.float32]
    mask: NDArray[np.bool_]


class Predictor:
    """A trained model, ready for images.

    Images go in at their own resolution, whatever the test pipeline of the config does: their ground
    sampling distance should be that of the training. Nothing is downloaded: pre-trained weights named in the
    config are left out, since the checkpoint holds all weights.

    Args:
        config: Path of the config file that the model was trained with.
        checkpoint: Path of the checkpoint.
        device: Where to compute, ``'cpu'``, ``'cuda'``, ``'cuda:1'``.
        threshold: Probability in (0, 1) above which a pixel is changed; by default the model's own.
        cfg_options: Values that replace those of the config, as ``{'model.test_cfg.mode': 'whole'}``.
        window: ``'whole'`` to predict images at once, ``(crop, stride)`` in pixels to slide a window over
            them, None to do as the config says. The scene embedding depends on the window: take the size of
            the training crops.

    Raises:
        UserError: if one of these is wrong; the sentence says which and what to do.
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path,
        device: str = 'cpu',
        threshold: float | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        window: tuple[int, int] | str | None = None,
    ) -> None:
        if threshold is not None and not 0 < threshold < 1:
            raise UserError(f'the threshold is {threshold}: give a value between 0 and 1')
        self.threshold = threshold
        self._device = _device(device)
        self.model: Any = _build(_read_config(config, cfg_options, window), config)
        load_weights(self.model, checkpoint)
        self.model.to(self._device).eval()

    @torch.inference_mode()
    def __call__(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> Prediction:
        """Predict one pair.

        Args:
            t1: Image of the first date, BGR.
            t2: Image of the second date, of the same size.

        Shapes:
            ``t1`` and ``t2``: (H, W, 3); H and W are free.

        Raises:
            UserError: if the sizes differ or the accelerator's memory does not suffice.
        """
        if t1.shape != t2.shape:
            raise UserError(
                f'the images are {size(t1)} and {size(t2)} pixels: cut them to the same area and size'
            )
        shape = t1.shape[:2]
        sample = SegDataSample(metainfo={'ori_shape': shape, 'img_shape': shape, 'pad_shape': shape})
        inputs = torch.from_numpy(np.dstack([t1, t2])).permute(2, 0, 1).contiguous()
        try:
            (sample,) = self.model.test_step({'inputs': [inputs], 'data_samples': [sample]})
        except torch.cuda.OutOfMemoryError:
            raise UserError(
                f'{size(t1)} pixels at once do not fit into the memory of {self._device}: use --mode slide'
            ) from None
        probs = change_probs(sample.seg_logits.data)
        if not probs.isfinite().all():
            raise UserError('the model predicts NaN, so its training diverged: take an earlier checkpoint')
        mask = sample.pred_sem_seg.data[0] == 1 if self.threshold is None else probs > self.threshold
        return Prediction(probs.cpu().numpy(), mask.cpu().numpy())


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError(f'the device {name} is not available here: use --device cpu') from None


def _read_config(
    path: str | Path, options: Mapping[str, Any] | None, window: tuple[int, int] | str | None
) -> Config:
    if not Path(path).is_file():
        raise UserError(f'the config {path} does not exist: give the file that the model was trained with')
    try:
        config = Config.fromfile(path)
        config.merge_from_dict(dict(options or {}))
    except Exception as error:  # a config is a program: anything can happen
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        raise UserError(
            f'the config {path}, or an option for it, cannot be read ({reason}): correct it'
        ) from error
    if 'model' not in config:
        raise UserError(f'{path} describes no model: give the config that the model was trained with')
    if window == 'whole':
        config.model.test_cfg = {'mode': 'whole'}
    elif window is not None:
        crop, stride = map(int, window)
        if not 0 < stride <= crop:
            raise UserError(f'a window of {crop} pixels cannot move by {stride}: give 0 < stride <= crop')
        config.model.test_cfg = {'mode': 'slide', 'crop_size': (crop, crop), 'stride': (stride, stride)}
    return config


def _build(config: Config, path: str | Path) -> nn.Module:
    _forget_pretrained(config.model)
    init_default_scope(config.get('default_scope', 'opencd'))
    try:
        model: nn.Module = MODELS.build(config.model)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        reason = str(error.args[0] if error.args else error).split('. ')[0]
        raise UserError(f'the model of {path} cannot be built ({reason}): correct the config') from error
    return cast('nn.Module', revert_sync_batchnorm(model))


def _forget_pretrained(node: Any) -> None:
    """Take out everything that names weights to start a training from."""
    if isinstance(node, ConfigDict):
        for key in ('init_cfg', 'pretrained'):
            if key in node:
                node[key] = None
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            _forget_pretrained(item)
