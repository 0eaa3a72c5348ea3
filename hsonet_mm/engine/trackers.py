"""Logging to TensorBoard, Weights & Biases and MLflow."""

from importlib import import_module

from mmengine.config import Config

from hsonet_mm.errors import UserError

__all__ = ['TRACKERS', 'add_tracker', 'check_trackers']

TRACKERS = {
    'tensorboard': ('TensorboardVisBackend', 'TensorBoard'),
    'wandb': ('WandbVisBackend', 'Weights & Biases'),
    'mlflow': ('MLflowVisBackend', 'MLflow'),
}
"""Packages, which are also the names of the options and of the extras, with MMEngine's backend and their names."""


def add_tracker(cfg: Config, package: str) -> None:
    """Make a training log to a tracker as well."""
    cfg.setdefault('visualizer', {'type': 'Visualizer'})
    cfg.visualizer.setdefault('vis_backends', [{'type': 'LocalVisBackend'}])
    backend = TRACKERS[package][0]
    if all(one.get('type') != backend for one in cfg.visualizer.vis_backends):
        cfg.visualizer.vis_backends = [*cfg.visualizer.vis_backends, {'type': backend}]


def check_trackers(cfg: Config) -> None:
    """Check that the packages of the trackers of a config are installed."""
    backends = (cfg.get('visualizer') or {}).get('vis_backends') or []
    if wrong := [one for one in backends if not isinstance(one, dict)]:
        raise UserError(
            f'invalid visualizer.vis_backends entry {wrong[0]!r}: expected a dict in the config '
            f'(--cfg-options cannot write one), or {", ".join(f"--{package}" for package in TRACKERS)}'
        )
    types = {one.get('type') for one in backends}
    for package, (backend, name) in TRACKERS.items():
        if backend not in types:
            continue
        try:
            import_module(package)
        except ImportError:
            raise UserError(
                f'logging to {name} ({backend}) needs its package: pip install "hsonet_mm[{package}]", or '
                'leave it out'
            ) from None
