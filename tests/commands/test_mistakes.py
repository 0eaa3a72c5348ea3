"""Mistakes in configs and options, and losses that are not finite: one sentence, and nothing half-written."""

import pathlib

import pytest
import torch

PIPELINE = 'train_dataloader.dataset.pipeline'
ENTRY = pathlib.Path(__file__).parents[2] / 'configs/hsonet_levir.py'


# Configs and options
@pytest.mark.parametrize(
    'key',
    [
        'model.type',
        'model.backbone.type',
        'model.neck.type',
        'model.decode_head.type',
        'model.decode_head.loss_decode.type',
        'train_dataloader.dataset.type',
        'train_dataloader.sampler.type',
        'optim_wrapper.optimizer.type',
        'train_cfg.type',
        'val_evaluator.type',
        'default_hooks.checkpoint.type',
        'visualizer.type',
    ],
)
def test_wrong_type_name(config, refuse, key):
    path = config({key: 'hsonet_mm.NoSuchThing'})
    refuse('train', path, naming=[path, 'NoSuchThing', 'correct the name'])


def test_wrong_type_name_of_a_transform(config, refuse):
    path = config({PIPELINE: [{'type': 'NoSuchThing'}]})
    refuse('train', path, naming=[path, 'NoSuchThing', 'correct the name'])


def test_wrong_type_name_in_test_and_prediction(config, refuse, checkpoint, tiny_data):
    path = config({'model.neck.type': 'NoSuchThing'})
    pair = (tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png')
    refuse('test', path, checkpoint, naming=[path, 'NoSuchThing', 'correct the name'])
    refuse('predict', path, checkpoint, *pair, naming=[path, 'NoSuchThing', 'correct the config'])


@pytest.mark.parametrize('command', ['train', 'test', 'predict'])
@pytest.mark.parametrize(
    ('content', 'naming'),
    [
        (None, ['does not exist']),
        ('model = dict(\n', ['cannot be read', 'correct it']),
        ("_base_ = './nowhere.py'\n", ['nowhere.py', 'correct it']),
        (
            f"_base_ = '{ENTRY}'\n",
            ['two kinds, with _base_ and with read_base()', 'from hsonet_mm.configs.NAME'],
        ),
        ("custom_imports = dict(imports=['no_such_package'])\n", ['no_such_package', 'correct it']),
    ],
)
def test_unreadable_config(content, naming, command, refuse, checkpoint, tiny_data, tmp_path):
    path = tmp_path / 'broken.py'
    if content is not None:
        path.write_text(content)
    pair = (tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png')
    args = {'train': (), 'test': (checkpoint,), 'predict': (checkpoint, *pair)}[command]
    refuse(command, path, *args, naming=[path, *naming])


def test_options_that_do_not_fit(config, refuse):
    path = config()
    refuse('train', path, '--cfg-options', 'model.type.deeper=1', naming=[path, '--cfg-options'])


@pytest.mark.parametrize(
    'key',
    [
        'model.decode_head.foo',
        'train_dataloader.foo',
        'train_dataloader.dataset.foo',
        'train_dataloader.dataset.pipeline.2.foo',
        'train_cfg.foo',
        'optim_wrapper.optimizer.foo',
        'param_scheduler.0.foo',
        'val_dataloader.foo',
        'val_evaluator.foo',
    ],
)
def test_unknown_argument_of_a_component(key, config, refuse):
    path = config()
    refuse(
        'train', path, '--cfg-options', f'{key}=3', naming=[path, 'cannot be built', "'foo'", 'correct it']
    )


def test_unknown_argument_in_test(config, refuse, checkpoint):
    path = config()
    options = ('--cfg-options', 'test_dataloader.dataset.foo=3')
    refuse('test', path, checkpoint, *options, naming=[path, 'cannot be built', "'foo'", 'correct it'])


def test_best_of_a_figure_that_is_not_reported(config, hsonet, tmp_path):
    path = config({'train_cfg.val_interval': 1, 'default_hooks.checkpoint.save_best': 'changed/f2'})
    code, _, stderr = hsonet('train', path, '--work-dir', tmp_path / 'work')
    assert code == 2
    (sentence,) = stderr.splitlines()
    assert sentence.startswith(f"error: invalid save_best 'changed/f2' in {path}: expected")
    figures = sentence.rsplit('one of ')[1].split(', ')
    assert {'changed/f1', 'changed/iou'} < set(figures)
    assert all(figure.startswith('changed/') for figure in figures)


@pytest.mark.parametrize(
    ('changes', 'naming'),
    [
        ({'num_classes': 5, 'out_channels': 5}, ['num_classes is 5', '2 classes', 'set num_classes=2']),
        ({'num_classes': 1, 'out_channels': 1}, ['num_classes is 1', 'set num_classes=2']),
        ({'num_classes': 2, 'out_channels': 3}, ['out_channels', 'correct it']),
    ],
)
def test_class_count_that_does_not_fit(changes, naming, config, refuse):
    path = config({f'model.decode_head.{key}': value for key, value in changes.items()})
    refuse('train', path, naming=naming)


@pytest.mark.parametrize('threshold', ['0', '1', '1.5', '-0.2', 'nan', 'half'])
def test_threshold_out_of_range(threshold, config, refuse, checkpoint):
    refuse(
        'test',
        config(),
        checkpoint,
        f'--threshold={threshold}',
        naming=[f'--threshold {threshold}', 'or val'],
    )


@pytest.mark.parametrize('threshold', ['0', '1.5', 'nan'])
def test_threshold_out_of_range_in_prediction(threshold, config, refuse, checkpoint, tiny_data):
    pair = (tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png')
    args = (config(), checkpoint, *pair, f'--threshold={threshold}')
    refuse('predict', *args, naming=['threshold', 'between 0 and 1'])


@pytest.mark.parametrize('threshold', ['a', 0, 1.0])
def test_threshold_of_the_head(config, refuse, threshold):
    naming = [f'threshold {threshold!r} of the decode head', 'between 0 and 1']
    refuse('train', config({'model.decode_head.threshold': threshold}), naming=naming)


def test_mean_of_one_date_alone(config, refuse):
    path = config({'model.data_preprocessor.mean': [120.0] * 3, 'model.data_preprocessor.std': [60.0] * 3})
    refuse('train', path, naming=['3 values of mean', 'expected 6', 'both dates'])


def test_pipeline_that_packs_nothing(config, refuse):
    refuse('train', config({PIPELINE: []}), naming=['pipeline', 'MultiImgPackSegInputs'])


@pytest.mark.parametrize('interval', [0, -5])
def test_no_interval_between_validations(config, refuse, interval):
    path = config({'train_cfg.val_interval': interval})
    refuse('train', path, '--iters', '2', naming=[f'val_interval {interval}', path, '1 or more'])


def test_threshold_out_of_range_in_the_config(config, refuse, checkpoint):
    refuse('test', config({'test_evaluator.threshold': 2.0}), checkpoint, naming=['2.0', 'between 0 and 1'])


def test_unknown_protocol(config, refuse, checkpoint):
    naming = ["--protocol 'tiles_7'", 'whole', 'tiles_256']
    refuse('test', config(), checkpoint, '--protocol', 'tiles_7', naming=naming)


def test_launcher_without_processes(config, refuse, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    refuse('train', config(), '--launcher', 'pytorch', naming=['--launcher pytorch', 'torchrun'])


def test_launcher_that_needs_a_gpu(config, refuse, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    refuse('train', config(), '--launcher', 'slurm', naming=['--launcher slurm needs a GPU', 'torchrun'])


# Numbers
def test_nan_in_the_loss(config, refuse, tiny_data):
    """The iteration and the images of the batch are named."""
    path = config({'train_cfg.max_iters': 9, 'optim_wrapper.optimizer.lr': 1e30})
    sentence = refuse(
        'train', path, naming=['at iteration 2:', tiny_data / 'train/A', 'learning rate', '--resume']
    )
    assert sentence.count('.png') == 2


def test_nan_in_the_weights_is_never_saved(config, refuse):
    sgd = {'_delete_': True, 'type': 'SGD', 'lr': 1e30, 'weight_decay': 0.0}
    steep = {'optim_wrapper.optimizer': sgd, 'model.decode_head.loss_decode.loss_weight': 1e20}
    path = config({**steep, 'default_hooks.checkpoint.interval': 1})
    refuse('train', path, naming=['not finite after iteration 1', 'learning rate', '--resume'])
