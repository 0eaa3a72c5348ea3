"""Turns a spec into configs and their hashes, and checks everything before any training."""

import copy
import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from hsonet_mm.bands import LOADERS, walk
from hsonet_mm.checkpoints import load_weights, read_checkpoint
from hsonet_mm.config import expand_variables, merge_options, parse_config, set_iterations, short_hash
from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.records import Run
from hsonet_mm.leaderboard.spec import Method, Spec

__all__ = ['Contender', 'contenders', 'names_weights', 'relevant']

NOT_HASHED = {
    *('work_dir', 'data_root', 'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory'),
    *('log_level', 'resume', 'seed'),
}
"""Keys of a config, at any depth, that do not change the result, or have a column of their own."""
NEEDED = (*LOADERS, 'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_evaluator', 'default_hooks')
"""What a recipe must hold beside ``protocols.whole``."""
STARTS = {'ImageNet': 'with ImageNet weights', 'published': 'with published weights', 'none': 'without'}
"""What models start from, in words."""
SELECTED_BY = 'changed/best_f1'
"""The figure of a validation by which the checkpoint is chosen: F1 at the best threshold, as methods are ranked at the
threshold of val. At 0.5, networks that are not calibrated yet all have 0, and the first checkpoint would win."""


@dataclass(frozen=True)
class Contender:
    """A method of a block, ready to be trained, or scored, on any data set with any seed.

    Attributes:
        config: The whole config, but for data roots, seed and work dir.
        config_hash: First 12 digits of its SHA-256, see NOT_HASHED; with the content of the file of published weights.
        weights: What the model starts from: ``published`` with a checkpoint, ``ImageNet`` where one of its parts, by
            config or by default, has pre-trained weights, else ``none``.
        data_hashes: Of every data set by name, the first 12 digits of the SHA-256 of what its splits are: which files,
            by their names below the root and their sizes.
    """

    config: Config
    config_hash: str
    weights: str
    data_hashes: Mapping[str, str] = field(default_factory=dict)


def contenders(spec: Spec, runs: Iterable[Run] | None = None) -> dict[tuple[str, str], Contender]:
    """Create and check the config of every method of a spec, by block and method.

    All configs and published weights are read. The models of the runs are built, without weights but published ones,
    which must fit, and the files of all splits that they use are listed.
    """
    runs = list(spec.runs() if runs is None else runs)
    wanted = {run[:2] for run in runs}
    roots = {name: root for run in runs for name, root in spec.test_sets(run.data_set).items()}
    made: dict[tuple[str, str], Contender] = {}
    for block, one in spec.blocks.items():
        made |= {
            (block, name): _contender(spec, block, name, (block, name) in wanted) for name in one.methods
        }
        kinds = {  # a model that is not built may have weights that its config does not name
            made[block, name].weights: name
            for name in reversed(one.methods)
            if (block, name) in wanted or made[block, name].weights != 'none'
        }
        if len(kinds) > 1:
            mixed = ' and '.join(
                f'{words} ({kinds[kind]})' for kind, words in STARTS.items() if kind in kinds
            )
            raise UserError(
                f'block {block!r} of {spec.path} mixes methods {mixed}: '
                'give them separate blocks, or turn the weights off with options'
            )
    data_hashes = {}
    for block, one in spec.blocks.items():
        cfg = made[block, one.reference].config
        data_hashes[block] = {name: _data_hash(spec, cfg, name, root) for name, root in roots.items()}
    return {key: replace(ready, data_hashes=data_hashes[key[0]]) for key, ready in made.items()}


def _contender(spec: Spec, block_name: str, name: str, wanted: bool) -> Contender:
    block = spec.blocks[block_name]
    method, recipe = block.methods[name], block.recipe or spec.recipe
    where = f'method {name!r} of block {block_name!r}'
    cfg = _read(recipe, f'the recipe of block {block_name!r}')
    if missing := [key for key in NEEDED if key not in cfg]:
        raise UserError(f'{recipe} lacks {missing[0]}, which a recipe needs: add it')
    if 'whole' not in cfg.get('protocols', {}):
        raise UserError(f'{recipe} has no test protocol "whole": add protocols.whole')
    other = _read(method.config, f'the config of {where}')
    if 'model' not in other:
        raise UserError(f'{method.config} does not define a model: give the config of {where}')
    cfg.model = other.model
    _add_imports(cfg, other)
    cfg.model.test_cfg = cfg.protocols.whole
    for options, place in ((block.options, f'block {block_name!r}'), (method.options, where)):
        try:
            merge_options(cfg, options)
        except ValueError as error:
            raise UserError(f'invalid options of {place} in {spec.path} ({error}): correct them') from error
    if method.checkpoint is None:
        set_iterations(cfg, spec.iterations, spec.validations)
    cfg.train_cfg.type = 'hsonet_mm.ResumableTrainLoop'
    cfg.default_hooks.checkpoint.update(
        type='hsonet_mm.ChangeCheckpointHook', save_best=SELECTED_BY, rule='greater', max_keep_ckpts=1
    )
    cfg.launcher, cfg.load_from = 'none', None
    model = _built(cfg, where, method) if wanted else None
    if method.checkpoint is not None:
        checkpoint = read_checkpoint(_expanded(method.checkpoint, f'the checkpoint of {where}', spec))
        if model is not None:
            load_weights(model, checkpoint)
        content = hashlib.sha256(checkpoint.path.read_bytes()).hexdigest()
        return Contender(cfg, short_hash([relevant(cfg.to_dict()), content]), 'published')
    weights = names_weights(cfg.model) or (model is not None and _starts_from_weights(model))
    return Contender(cfg, short_hash(relevant(cfg.to_dict())), 'ImageNet' if weights else 'none')


def _read(path: Path, what: str) -> Config:
    if not path.is_file():
        raise UserError(f'{path}, {what}, does not exist: correct its path, which is relative to the spec')
    return parse_config(path, f'{path}, {what},')


def _add_imports(cfg: Config, other: Config) -> None:
    """Add the custom imports of another config, the modules that register the parts of its model."""
    wanted: dict[str, None] = {}
    for one in (cfg, other):
        names = (one.get('custom_imports') or {}).get('imports', [])
        wanted.update(dict.fromkeys([names] if isinstance(names, str) else names))
    if wanted:
        cfg.custom_imports = {**(cfg.get('custom_imports') or {}), 'imports': list(wanted)}


def _built(cfg: Config, where: str, method: Method) -> nn.Module:
    init_default_scope(cfg.get('default_scope', 'opencd'))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # the run itself tells them, in its log
            return MODELS.build(copy.deepcopy(cfg.model))
    except Exception as error:  # of any component
        text = ' '.join(str(error.args[0] if error.args else error).split()) or type(error).__name__
        reason = text.split('. ')[0]  # MMEngine goes on with advice
        raise UserError(
            f'the model of {where} ({method.config}) cannot be built ({reason}): correct config or options'
        ) from error


def _expanded(path: str, what: str, spec: Spec) -> str:
    """A path of the spec with its environment variables replaced."""
    try:
        return expand_variables(path)
    except UserError:
        raise UserError(
            f'{what} in {spec.path} is {path!r}, and this environment variable is not set: '
            'set it, or write a default behind :-'
        ) from None


def _data_hash(spec: Spec, cfg: Config, name: str, root: str) -> str:
    folder = Path(_expanded(root, f'the data root of {name}', spec))
    if not folder.is_dir():
        raise UserError(f'the data root {folder} of {name} in {spec.path} does not exist: correct it')
    files = []
    for loader in LOADERS:
        dataset = copy.deepcopy(cfg[loader].dataset)
        dataset.update(data_root=root, pipeline=[], lazy_init=False)
        try:
            built = DATASETS.build(dataset)
        except UserError as error:
            raise UserError(f'data set {name} of {spec.path}: {error}') from error
        for pair in map(built.get_data_info, range(len(built))):
            for path in map(Path, (*pair['img_path'], pair['seg_map_path'])):
                files.append((loader, os.path.relpath(path, folder), path.stat().st_size))
    return short_hash(files)


def names_weights(node: Any) -> bool:
    """Whether a part of a model starts from pre-trained weights."""
    for part in walk(node):
        init = part.get('init_cfg')
        starts = init if isinstance(init, (list, tuple)) else [init]
        if part.get('pretrained') or any(one.get('type') == 'Pretrained' for one in starts if one):
            return True
    return False


def _starts_from_weights(model: nn.Module) -> bool:
    """Whether a part of a built model would load pre-trained weights, perhaps by default."""
    return any(
        names_weights({name: getattr(part, name, None) for name in ('init_cfg', 'pretrained')})
        for part in model.modules()
    )


def relevant(node: Any) -> Any:
    """Copy a part of a config without the keys that do not affect the result of a run."""
    if isinstance(node, dict):
        return {key: relevant(value) for key, value in node.items() if key not in NOT_HASHED}
    return [relevant(item) for item in node] if isinstance(node, (list, tuple)) else node
