"""The networks of a page: models by config and checkpoint, and the snapshots of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hsonet_mm.errors import UserError
from hsonet_mm.images import ImagePair, Reading
from hsonet_mm.inference.detector import ChangeDetector
from hsonet_mm.inference.torch_model import TorchModel
from hsonet_mm.training_log import find_snapshots, training_config

__all__ = ['Network', 'open_network', 'prepare_pair', 'snapshots_of']


@dataclass(frozen=True)
class Network:
    """A trained network, its unique name on the page, and the iteration of a snapshot."""

    name: str
    config: Path
    checkpoint: Path
    detector: ChangeDetector
    iteration: int | None = None

    @property
    def model(self) -> TorchModel:
        """The model in PyTorch."""
        return cast('TorchModel', self.detector.model)


def open_network(
    name: str,
    config: Path,
    checkpoint: Path,
    *,
    device: str = 'cpu',
    threshold: float | None = None,
    reading: Reading | None = None,
    iteration: int | None = None,
) -> Network:
    """Load a network, see :meth:`~hsonet_mm.ChangeDetector.from_checkpoint`.

    Raises:
        UserError: as that.

    Example:
        >>> import tempfile, torch
        >>> from hsonet_mm.model_size import build_untrained
        >>> config, checkpoint = Path('configs/hsonet_lite_levir.py'), Path(tempfile.mkdtemp(), 'untrained.pth')
        >>> torch.save(build_untrained(config).state_dict(), checkpoint)
        >>> open_network('untrained', config, checkpoint).detector.threshold
        0.5
    """
    detector = ChangeDetector.from_checkpoint(
        config,
        checkpoint,
        device=device,
        threshold=threshold,
        window='whole',
        precision='fp32',
        reading=reading,
    )
    return Network(name, config, checkpoint, detector, iteration)


def snapshots_of(work_dir: Path) -> tuple[Path, dict[int, Path]]:
    """The config of a training and its snapshots by iteration."""
    config, snapshots = training_config(work_dir), find_snapshots(work_dir)
    if config is None:
        raise UserError(f'{work_dir} contains no training log: give the work directory of hsonet train')
    if not snapshots:
        raise UserError(
            f'{work_dir} contains no snapshots of its training (snapshot_iter_N.pth): train with '
            '--snapshots 5, or give config and checkpoint'
        )
    return config, snapshots


def prepare_pair(network: Network, pair: ImagePair) -> dict[str, Any]:
    """Prepare a pair of RGB images, see :meth:`~hsonet_mm.inference.torch_model.TorchModel.prepare`."""
    order = slice(None, None, -1) if network.model.reading.channels == 3 else slice(None)
    return network.model.prepare(pair.t1[None, ..., order], pair.t2[None, ..., order])


def unique_names(models: Sequence[tuple[Path, Path]]) -> list[str]:
    """A name for each config and checkpoint: that of the config, with that of the checkpoint if the config repeats."""
    stems = [config.stem for config, _ in models]
    return [
        stem if stems.count(stem) == 1 else f'{stem}, {checkpoint.stem}'
        for stem, (_, checkpoint) in zip(stems, models, strict=True)
    ]
