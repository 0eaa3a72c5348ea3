"""A trained model in PyTorch, from its config and checkpoint, or from an exported model that contains both."""

from collections.abc import Mapping
from contextlib import nullcontext
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmseg import __version__ as mmseg_version
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import nn

from hsonet_mm.bands import config_reading, set_bands, walk
from hsonet_mm.checkpoints import Checkpoint, load_weights, read_checkpoint
from hsonet_mm.config import read_config, short_hash
from hsonet_mm.errors import UserError
from hsonet_mm.evaluation.change_metric import change_probs
from hsonet_mm.inference.calibration import apply_temperature
from hsonet_mm.inference.precision import autocast
from hsonet_mm.models.decode_heads.cascade import last_head
from hsonet_mm.opencd import compat
from hsonet_mm.version import __version__

__all__ = ['TorchModel', 'training_crop']


class TorchModel:
    """A trained model, ready for images.

    Nothing is downloaded: pre-trained weights named in the config are left out, since the checkpoint contains all
    weights. Its attributes are those of :class:`~hsonet_mm.inference.models.ChangeModel`; ``network``, the model of
    MMSegmentation in evaluation mode; its ``config`` with the options in it; and ``temperature``, that of the
    calibration that an exported model carries, already in its probabilities. The threshold is that of validation in the
    checkpoint; else, or where the options set one, that of the head.

    Args:
        config: Path of the config file that the model was trained with; None where the checkpoint is an exported model.
        checkpoint: Path of the checkpoint, or of a model that was exported with ``--fp16``.
        device: Where to compute, ``'cpu'``, ``'cuda'``, ``'cuda:1'``.
        cfg_options: Values that replace those of the config, as ``{'model.test_cfg.mode': 'whole'}``.
        whole: Predict images at once, also where ``model.test_cfg`` of the config slides a window over them.
        precision: One of :data:`~hsonet_mm.inference.precision.PRECISIONS`.

    Raises:
        UserError: if one of these is wrong; the sentence says which and what to do.
    """

    tile_size: int | None = None

    def __init__(
        self,
        config: str | Path | None,
        checkpoint: str | Path,
        device: str = 'cpu',
        cfg_options: Mapping[str, Any] | None = None,
        whole: bool = False,
        precision: str = 'auto',
    ) -> None:
        self._device = _device(device)
        self.device = str(self._device)
        self._autocast = autocast(precision, self._device)
        given = None if config is None else read_config(config, cfg_options)
        loaded = read_checkpoint(checkpoint)
        self.config = _exported_config(loaded) if given is None else given
        if 'model' not in self.config:
            raise UserError(
                f'{config} does not define a model: give the config that the model was trained with'
            )
        if whole:
            self.config.model.test_cfg = {'mode': 'whole'}
        self.slides = (self.config.model.get('test_cfg') or {}).get('mode') == 'slide'
        exported = loaded.exported
        self.crop_size = training_crop(self.config) if exported is None else exported.crop_size
        self.temperature = 1.0 if exported is None else exported.temperature
        self.ground_resolution = None if exported is None else exported.ground_resolution
        self.licence = None if exported is None else exported.licence
        self.reading, _ = loaded.reading.over(config_reading(self.config))
        set_bands(self.config.model, self.reading.channels)
        self.network: Any = _build(self.config, config or checkpoint)
        load_weights(self.network, loaded)
        self.network.to(self._device).eval()
        threshold = getattr(last_head(self.network), 'threshold', None)
        self.threshold, self.threshold_source = (
            0.5 if threshold is None else float(threshold),
            "the model's own",
        )
        if loaded.threshold is not None and 'model.decode_head.threshold' not in (cfg_options or {}):
            self.threshold, self.threshold_source = loaded.threshold
        self.name = ' '.join(Path(file).name for file in (config, checkpoint) if file is not None)
        self.versions = {
            'hsonet_mm': __version__,
            'torch': torch.__version__,
            'mmseg': mmseg_version,
            'config': short_hash(self.config.model.to_dict()),
            'precision': 'fp32' if self._autocast is nullcontext else 'bf16',
        }

    @torch.inference_mode()
    def probs(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of change of a batch, see :meth:`hsonet_mm.ChangeDetector.probs`."""
        pairs = _stacked(t1, t2)
        chunks = pairs.split(1) if compat.OPENCD_AVAILABLE else [pairs]  # Open-CD tests one pair a batch
        probs = torch.stack([one for chunk in chunks for one in self._step(chunk)]).cpu().numpy()
        return apply_temperature(probs, self.temperature)

    def whole(self) -> 'TorchModel':
        """This model with the same weights, but without the window of its config."""
        if not self.slides:
            return self
        model = copy(self)
        model.network, model.slides = copy(self.network), False
        model.network.test_cfg = ConfigDict(mode='whole')
        return model

    def _step(self, pairs: torch.Tensor) -> list[torch.Tensor]:
        """Probabilities, (H, W) each, of pairs (N, 6, H, W)."""
        with self._autocast():
            samples = self.network.test_step(_batch(pairs))
        return [change_probs(sample.seg_logits.data.float()) for sample in samples]

    def prepare(self, t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> dict[str, Any]:
        """A batch prepared for the network, for inspection: normalised and padded ``inputs``, and ``data_samples``."""
        prepared: dict[str, Any] = self.network.data_preprocessor(_batch(_stacked(t1, t2)), False)
        return prepared

    def log_odds(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Log-odds of change of the whole images of a prepared batch, with a graph where gradients are enabled.

        They are what :meth:`probs` takes the sigmoid of, in float32. (N, H, W), without padding.
        """
        metas = [sample.metainfo for sample in batch['data_samples']]
        height, width = metas[0]['ori_shape']
        logits = self.network.encode_decode(batch['inputs'], metas)[..., :height, :width]
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def _stacked(t1: NDArray[np.uint8], t2: NDArray[np.uint8]) -> torch.Tensor:
    """Both dates, (N, H, W, bands) each, as (N, 2 bands, H, W)."""
    return torch.from_numpy(np.concatenate([t1, t2], axis=3)).permute(0, 3, 1, 2).contiguous()


def _batch(pairs: torch.Tensor) -> dict[str, Any]:
    """Pairs (N, 2 bands, H, W) as a loader gives them."""
    shape = tuple(pairs.shape[2:])
    meta = {'ori_shape': shape, 'img_shape': shape, 'pad_shape': shape}
    return {'inputs': list(pairs), 'data_samples': [SegDataSample(metainfo=meta) for _ in pairs]}


def _exported_config(loaded: Checkpoint) -> Config:
    """The config in an exported model."""
    if loaded.exported is None or loaded.exported.network is None:
        raise UserError(f'{loaded.path} needs the config that it was trained with: give both')
    return Config(deepcopy(loaded.exported.network))


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise UserError(f'the device {name} is not available here: use --device cpu') from None


def training_crop(config: Config) -> int | None:
    """The larger side of the crops that a config trains on; None where its training pipeline names none."""
    crops = (one.get('crop_size') for one in walk(config.get('train_dataloader')))
    found = next((crop for crop in crops if crop is not None), None)
    return None if found is None else int(found if isinstance(found, int) else max(found))


def _build(config: Config, path: str | Path) -> nn.Module:
    for part in walk(config.model):  # nothing is to start from other weights
        part.update({key: None for key in ('init_cfg', 'pretrained') if key in part})
    try:
        with DefaultScope.overwrite_default_scope(config.get('default_scope', 'opencd')):
            model: nn.Module = MODELS.build(config.model)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        reason = str(error.args[0] if error.args else error).split('. ')[0]
        raise UserError(f'the model of {path} cannot be built ({reason}): correct the config') from error
    return cast('nn.Module', revert_sync_batchnorm(model))
