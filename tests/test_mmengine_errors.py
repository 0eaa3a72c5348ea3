"""What is said when weights cannot be had."""

import io
import pickle
import sys
import urllib.error
from http.client import IncompleteRead

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from torch import nn

from hsonet_mm.mmengine_errors import explain_load_error
from hsonet_mm.models.backbones import EfficientNetLite


class _Evil:
    def __reduce__(self):
        return (pytest.fail, ('pickled code was run',))


def _error_of(function, *args):
    with pytest.raises(Exception) as info:  # noqa: PT011 (any error)
        function(*args)
    return info.value


def _init_error(checkpoint):
    backbone = EfficientNetLite(init_cfg={'type': 'Pretrained', 'checkpoint': checkpoint})
    return _error_of(backbone.init_weights)


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """Every download fails as the function says that the test puts into the list."""
    errors = [lambda: urllib.error.URLError(OSError(-2, 'Name or service not known'))]

    def urlopen(*_, **__):
        raise errors[-1]()

    monkeypatch.setattr('torch.hub.urlopen', urlopen)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    return errors


@pytest.mark.parametrize('checkpoint', ['open-mmlab://resnet18_v1c', 'https://example.org/pvt_v2_b1.pth'])
@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (None, '(no network? [Errno -2] Name or service not known)'),
        (
            lambda: urllib.error.HTTPError('https://a.org', 404, 'No', {}, io.BytesIO()),
            '(HTTP Error 404: No)',
        ),
        (lambda: TimeoutError('timed out'), '(no network? timed out)'),
        (lambda: IncompleteRead(b'12', 3), '(no network? IncompleteRead(2 bytes read, 3 more expected))'),
    ],
)
def test_explains_downloads(no_network, checkpoint, error, reason):
    no_network.append(error or no_network[0])
    told = str(explain_load_error(_init_error(checkpoint)))
    assert told.startswith(
        f'The pre-trained weights {checkpoint} cannot be downloaded {reason}: get the file'
    )
    assert told.endswith('init_cfg.checkpoint=FILE, or train from scratch with model.backbone.init_cfg=None')
    assert '\n' not in told


def test_explains_unknown_names(no_network):  # noqa: ARG001
    told = str(explain_load_error(_init_error('open-mmlab://no_such_net')))
    assert 'open-mmlab://no_such_net cannot be found' in told


def test_explains_missing_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    told = str(explain_load_error(_init_error('torchvision://resnet18')))
    assert told.startswith('The pre-trained weights torchvision://resnet18 cannot be loaded without')
    assert 'torchvision' in told.split('(')[1]


def _refuse(*_, **__):
    raise PermissionError(13, 'no')


def test_explains_files(tmp_path, monkeypatch):
    assert f'{tmp_path / "x.pth"} cannot be found' in str(
        explain_load_error(_init_error(str(tmp_path / 'x.pth')))
    )
    file = tmp_path / 'evil.pth'
    torch.save({'weight': _Evil()}, file)
    told = str(explain_load_error(_error_of(load_checkpoint, nn.Linear(1, 1), str(file), 'cpu')))
    assert told.startswith(f'The checkpoint {file} cannot be loaded (damaged, or more than tensors')
    assert 'init_cfg' not in told  # a whole checkpoint, not a backbone's weights
    file.write_bytes(b'')
    assert 'cannot be loaded' in str(explain_load_error(_init_error(str(file))))
    monkeypatch.setattr(torch, 'load', _refuse)
    assert 'cannot be read ([Errno 13] no)' in str(explain_load_error(_init_error(str(file))))


@pytest.mark.parametrize(
    'error', [KeyError('a'), OSError('disk'), RuntimeError('shape'), pickle.UnpicklingError()]
)
def test_leaves_other_errors_alone(error):
    def fail():
        raise error

    assert explain_load_error(_error_of(fail)) is None
    assert explain_load_error(error.with_traceback(None)) is None


def test_leaves_bugs_and_told_mistakes_alone(monkeypatch):
    assert explain_load_error(_init_error('package://no_such_package')) is None  # a UserError already
    monkeypatch.setitem(CheckpointLoader._schemes, 'package://', lambda *_: 1 / 0)
    CheckpointLoader._schemes['package://'].__name__ = 'load_from_nowhere'
    assert explain_load_error(_init_error('package://x')) is None
