"""Every shipped config: it parses, says what a result depends on, builds, trains a step and predicts."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, VISUALIZERS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / 'configs'
FILES = sorted(
    path
    for path in CONFIGS.rglob('*.py')
    if path.parent.name not in ('_base_', 'recipes') and path.stem != '__init__'
)
NAMES = [path.stem for path in FILES]
CHANGE = [path for path in FILES if path.parent.name != 'segmentation']
ENTRY = CONFIGS / 'hsonet_levir.py'

every_config = pytest.mark.parametrize('path', FILES, ids=NAMES)
every_change_config = pytest.mark.parametrize('path', CHANGE, ids=[path.stem for path in CHANGE])


def flat(node, prefix=''):
    """Leaves of a config by dotted key; lists are leaves."""
    if not isinstance(node, dict):
        return {prefix[:-1]: node}
    return {
        key: leaf for name, child in node.items() for key, leaf in flat(child, f'{prefix}{name}.').items()
    }


def differing(one, other):
    """Dotted keys with different values in two configs."""
    one, other = flat(one.to_dict()), flat(other.to_dict())
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def test_all_are_found():
    assert len(FILES) >= 22
    assert len(set(NAMES)) == len(NAMES)
    needed = ['hsonet_levir', 'hsonet_whu', 'hsonet_sysu', 'hsonet_cdd', 'hsonet_gz', 'hsonet_lite_levir']
    assert set(needed) < set(NAMES)


# --- what they say


@every_config
def test_says_what_a_result_depends_on(path):
    text = path.read_text()
    assert text.startswith('"""')
    cfg = Config.fromfile(path)
    assert cfg.randomness.seed == 42
    assert cfg.custom_imports.imports == ['hsonet_mm']
    max_iters, interval = cfg.train_cfg.max_iters, cfg.train_cfg.val_interval
    assert max_iters % interval == 0
    assert cfg.default_hooks.checkpoint.interval == interval
    assert cfg.param_scheduler[-1]['end'] == max_iters
    assert all(earlier['end'] == later['begin'] for earlier, later in pairwise(cfg.param_scheduler))
    assert cfg.default_hooks.checkpoint.by_epoch is cfg.log_processor.by_epoch is False
    assert cfg.default_hooks.checkpoint.save_best == ('changed/best_f1' if path in CHANGE else 'mIoU')


@every_change_config
def test_says_how_change_is_scored(path):
    cfg = Config.fromfile(path)
    assert cfg.default_scope == 'opencd'
    head = cfg.model.decode_head
    one_channel = (2, 1, 0.5)
    two_channels = (2, None, None)  # the loss and the decision of the softmax
    choices = {one_channel, two_channels} if path.parent.name == 'baselines' else {one_channel}
    assert (head.num_classes, head.get('out_channels'), head.get('threshold')) in choices
    assert cfg.protocols == {
        'whole': {'mode': 'whole'},
        'tiles_256': {'mode': 'slide', 'crop_size': (256, 256), 'stride': (256, 256)},
    }
    assert cfg.model.test_cfg == cfg.protocols.whole
    assert cfg.default_hooks.checkpoint.rule == 'greater'
    for split in ('val', 'test'):
        assert cfg[f'{split}_evaluator'] == {'type': 'hsonet_mm.ChangeMetric', 'protocol': 'whole'}
        assert cfg[f'{split}_dataloader'].batch_size == 1
        assert cfg[f'{split}_dataloader'].sampler.shuffle is False
    for split in ('train', 'val', 'test'):  # selection never looks at the test set
        prefixes = cfg[f'{split}_dataloader'].dataset.data_prefix.values()
        assert {prefix.split('/')[0] for prefix in prefixes} == {split}


@every_change_config
def test_names_its_data_once(path):
    cfg = Config.fromfile(path)
    data_set = path.stem.removeprefix('hsonet_lite_').removeprefix('hsonet_').upper()
    variable = f'{data_set}_ROOT' if data_set == 'CDD' else f'{data_set}_CD_ROOT'
    if path.parent.name in ('ablations', 'baselines') or 'LEVIR' in data_set:
        variable = 'LEVIR_CD_ROOT'
    assert cfg.data_root.startswith('${' + variable + ':-')
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.data_root == cfg.data_root


DATA = {f'{split}_dataloader.dataset.data_root' for split in ('train', 'val', 'test')} | {'data_root'}
PREFIXES = {
    f'{split}_dataloader.dataset.data_prefix.{key}'
    for split in ('train', 'val', 'test')
    for key in ('img_path_from', 'img_path_to', 'seg_map_path')
}
LABELS = {key for key in PREFIXES if key.endswith('seg_map_path')}
LOSS = 'model.decode_head.loss_decode.'
CHANNELS = {'model.neck.in_channels', 'model.decode_head.in_channels'}
SIBLINGS = {
    'hsonet_cdd': DATA | LABELS,
    'hsonet_gz': DATA,
    'hsonet_whu': DATA,
    'hsonet_sysu': DATA | PREFIXES - LABELS,
    'hsonet_r50_levir': CHANNELS | {'model.backbone.depth', 'model.backbone.init_cfg.checkpoint'},
    'hsonet_levir_bce': {
        LOSS + key
        for key in (
            'type',
            'gamma',
            'schedule',
            'form',
            'trim',
            'floor',
            'balance',
            'use_sigmoid',
            'avg_non_ignore',
        )
    },
    'hsonet_levir_background': {LOSS + 'form'},
    'hsonet_levir_top_share': {LOSS + 'form'},
    'hsonet_levir_farseg': {LOSS + 'trim', LOSS + 'floor', LOSS + 'balance'},
    'hsonet_levir_gamma0': {LOSS + 'gamma', LOSS + 'trim'},
    'hsonet_levir_gamma1': {LOSS + 'gamma'},
    'hsonet_levir_gamma3': {LOSS + 'gamma'},
    'hsonet_levir_schedule_constant': {LOSS + 'schedule'},
    'hsonet_levir_schedule_linear': {LOSS + 'schedule'},
    'hsonet_levir_schedule_poly': {LOSS + 'schedule'},
    'hsonet_levir_no_association': {'model.decode_head.association'},
    'hsonet_levir_residual': {'model.decode_head.residual'},
    'hsonet_levir_unbalanced': {LOSS + 'balance'},
    'hsonet_levir_unscaled': {'model.decode_head.scaled'},
    'hsonet_levir_shared_scene': {'model.decode_head.scale_aware'},
}


def test_every_ablation_is_compared():
    assert {path.stem for path in FILES if path.parent.name == 'ablations'} <= set(SIBLINGS)


@pytest.mark.parametrize('name', SIBLINGS)
def test_differs_from_the_entry_in_one_thing(name):
    (path,) = CONFIGS.rglob(f'{name}.py')
    assert differing(Config.fromfile(path), Config.fromfile(ENTRY)) == SIBLINGS[name]


@pytest.mark.parametrize('name', ['hsonet_pvtv2_b1_levir', 'hsonet_pvtv2_b2_levir'])
def test_pvt_differs_in_backbone_and_learning_rate(name):
    keys = differing(Config.fromfile(CONFIGS / f'{name}.py'), Config.fromfile(ENTRY))
    others = {key for key in keys if not key.startswith('model.backbone.')}
    assert others == {'model.neck.in_channels', 'optim_wrapper.optimizer.lr'}


@every_config
def test_survives_a_round_trip(path, tmp_path):
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.to_dict() == cfg.to_dict()


# --- what they build


@pytest.fixture
def scope():
    """A function that makes the default scope of a config the current one."""
    return lambda cfg: init_default_scope(cfg.default_scope)


@pytest.fixture
def half_way():
    """A training of MMEngine that has done half of its steps."""
    name = 'test_configs'
    hub = MessageHub.get_instance(name)
    hub.update_info_dict({'iter': 50, 'max_iters': 100, 'loop_stage': 'train'})
    yield hub
    MessageHub._instance_dict.pop(name)


def random_batch(channels, classes, size=64):
    """Two random images with labels, as a data loader gives them."""
    torch.manual_seed(0)
    samples = []
    for _ in range(2):
        label = torch.randint(0, classes, (1, size, size))
        label[..., :4] = 255
        sample = SegDataSample(metainfo={'img_shape': (size, size), 'ori_shape': (size, size)})
        sample.gt_sem_seg = PixelData(data=label)
        samples.append(sample)
    images = [torch.randint(0, 256, (channels, size, size), dtype=torch.uint8) for _ in samples]
    return {'inputs': images, 'data_samples': samples}


@pytest.fixture(scope='module')
def build():
    """A function (model config) -> model; of networks that differ in their loss alone, one is built."""
    built = {}

    def of(model_cfg):
        model_cfg.backbone.init_cfg = None
        if 'size' in model_cfg.data_preprocessor:
            model_cfg.data_preprocessor.size = (64, 64)
        loss = model_cfg.decode_head.loss_decode
        key = repr({**model_cfg, 'decode_head': {**model_cfg.decode_head, 'loss_decode': None}})
        if key not in built:
            built.clear()
            built[key] = MODELS.build(model_cfg)
        losses = [MODELS.build(one) for one in (loss if isinstance(loss, list) else [loss])]
        built[key].decode_head.loss_decode = torch.nn.ModuleList(losses)
        return built[key]

    return of


# Networks of one architecture one after the other, so that each is built once.
BY_NETWORK = sorted(
    (path for path in FILES if path.parent.name != 'baselines'),  # which have tests of their own
    key=lambda path: repr(Config.fromfile(path).model.to_dict()),
)


@pytest.mark.parametrize('path', BY_NETWORK, ids=lambda path: path.stem)
@pytest.mark.usefixtures('half_way')
def test_trains_a_step_and_predicts(path, build, scope):
    cfg = Config.fromfile(path)
    scope(cfg)
    pair = path in CHANGE
    head = cfg.model.decode_head
    model = build(cfg.model)
    batch = random_batch(6 if pair else 3, head.num_classes)

    optimiser = build_optim_wrapper(model, cfg.optim_wrapper)
    data = model.train().data_preprocessor(batch, training=True)
    loss, logs = model.parse_losses(model(**data, mode='loss'))
    assert loss.isfinite()
    assert loss > 0
    assert logs['loss'] == loss
    optimiser.backward(loss)
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    before = model.decode_head.conv_seg.weight.clone()
    optimiser.step()
    assert not torch.equal(model.decode_head.conv_seg.weight, before)

    batch = {key: values[:1] for key, values in batch.items()}
    (result,) = model.eval().test_step(batch)
    assert result.seg_logits.data.shape == (1 if pair else head.num_classes, 64, 64)
    assert result.seg_logits.data.isfinite().all()
    assert result.pred_sem_seg.data.shape == (1, 64, 64)
    assert set(result.pred_sem_seg.data.unique().tolist()) <= set(range(head.num_classes))


@pytest.mark.usefixtures('half_way')
def test_names_of_cross_entropy_are_one_training(scope):
    """That balanced by size has two names; without the balance it is plain."""
    torch.manual_seed(0)
    label = torch.randint(0, 2, (2, 8, 8))
    label[:, :3] = 255  # as rotation leaves it
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)

    def trained(name, **options):
        cfg = Config.fromfile(CONFIGS / f'ablations/hsonet_levir_{name}.py')
        scope(cfg)
        cfg.model.decode_head.loss_decode.update(options)
        loss = MODELS.build(cfg.model.decode_head.loss_decode)(logits, label, ignore_index=255)
        return [loss, *torch.autograd.grad(loss, logits)]

    torch.testing.assert_close(trained('gamma0'), trained('schedule_constant'))
    torch.testing.assert_close(trained('schedule_constant', balance=0.0), trained('bce'))
    assert not torch.allclose(trained('gamma0')[1], trained('bce')[1])


@every_config
def test_other_parts_build(path, scope, tmp_path):
    cfg = Config.fromfile(path)
    scope(cfg)
    for split in ('train', 'val', 'test'):
        dataset = DATASETS.build({**cfg[f'{split}_dataloader'].dataset, 'lazy_init': True})
        assert len(dataset.pipeline.transforms) >= 3
        assert len(dataset.metainfo['classes']) == cfg.model.decode_head.num_classes
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        METRICS.build(evaluator)
    if 'visualizer' in cfg:  # before the hooks: Open-CD's hook looks for it
        visualizer = VISUALIZERS.build({**cfg.visualizer, 'name': path.stem, 'save_dir': str(tmp_path)})
        assert len(visualizer._vis_backends) == len(cfg.vis_backends)
    for hook in (*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])):
        HOOKS.build(hook)
    if 'visualizer' in cfg:
        type(visualizer)._instance_dict.pop(path.stem)


def test_tiles_are_a_protocol(build, scope):
    cfg = Config.fromfile(CONFIGS / 'hsonet_lite_levir.py')
    scope(cfg)
    model = build(cfg.model).eval()
    batch = {key: values[:1] for key, values in random_batch(6, 2, size=320).items()}
    (whole,) = model.test_step(batch)
    model.test_cfg = cfg.protocols.tiles_256
    (tiles,) = model.test_step(batch)
    assert tiles.seg_logits.data.shape == whole.seg_logits.data.shape == (1, 320, 320)
    model.test_cfg = cfg.protocols.whole
    corner = {**batch, 'inputs': [one[:, :256, :256] for one in batch['inputs']]}
    for one in corner['data_samples']:
        one.set_metainfo(dict.fromkeys(('ori_shape', 'img_shape', 'pad_shape'), (256, 256)))
    (first_tile,) = model.test_step(corner)
    alone = slice(0, 320 - 256)  # where no other tile reaches
    torch.testing.assert_close(
        tiles.seg_logits.data[:, alone, alone], first_tile.seg_logits.data[:, alone, alone]
    )
    assert not torch.allclose(tiles.seg_logits.data[:, alone, alone], whole.seg_logits.data[:, alone, alone])


# --- inherited by another project


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder that holds the package as `pip install` lays it out."""
    pytest.importorskip('setuptools')
    folder = tmp_path_factory.mktemp('installed')
    commands = f'egg_info --egg-base {folder} build --build-base {folder}/build --build-lib {folder}/lib'
    command = [sys.executable, 'setup.py', '-q', *commands.split()]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder / 'lib'


PROJECT = next(
    block
    for block in re.findall(r'```python\n(.*?)```', (ROOT / 'docs/opencd.md').read_text(), re.S)
    if 'read_base' in block
)
READ = """
import json, sys
from mmengine.config import Config
import hsonet_mm
print(json.dumps([hsonet_mm.__file__, Config.fromfile('project.py').to_dict()]))
"""


def test_another_project_inherits_in_three_lines(installed, tool_env, tmp_path):
    (tmp_path / 'project.py').write_text(PROJECT)
    path = ':'.join([str(installed), *(p for p in tool_env['PYTHONPATH'].split(':') if p != str(ROOT))])
    result = subprocess.run(
        [sys.executable, '-c', READ],
        cwd=tmp_path,
        env={**tool_env, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    place, inherited = json.loads(result.stdout.splitlines()[-1])
    assert Path(place).is_relative_to(installed)
    assert inherited == json.loads(json.dumps(Config.fromfile(ENTRY).to_dict()))
