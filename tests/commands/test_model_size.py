"""Parameters and MACs: what is counted, and that every HSONet is as large as docs/sizes.md says."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from hsonet_mm.commands.model_size import main
from hsonet_mm.model_size import build_untrained, macs, parameters

CONFIGS = Path(__file__).parents[2] / 'configs'

# Parameters (M) and GMACs of a 256 x 256 pair without the high-resolution branch; ResNets with the plain stem,
# docs/sizes.md has the deep one.
# Width of pyramid and association, width of the decoder.
FULL, NARROW = (256, 128), (128, 64)
SIZES = {
    ('r18', FULL): (16.73, 16.72),
    ('r50', FULL): (31.37, 23.42),
    ('b0', FULL): (8.58, 13.37),
    ('b1', FULL): (19.06, 17.56),
    ('b2', FULL): (30.42, 22.63),
    ('r18', NARROW): (12.76, 7.80),
    ('r50', NARROW): (26.25, 14.12),
    ('b0', NARROW): (4.80, 4.51),
    ('b1', NARROW): (15.09, 8.63),
    ('b2', NARROW): (26.44, 13.70),
}
STAGES = {
    'r18': [64, 128, 256, 512],
    'r50': [256, 512, 1024, 2048],
    'b0': [32, 64, 160, 256],
    'b1': [64, 128, 320, 512],
    'b2': [64, 128, 320, 512],
}
# The deep stem of ResNetV1c: 3x3 convolutions 3-32-32-64 in place of a 7x7 one 3-64, at half the resolution.
DEEP_STEM, PLAIN_STEM = 9 * (3 * 32 + 32 * 32 + 32 * 64), 49 * 3 * 64
STEM_PARAMETERS = DEEP_STEM - PLAIN_STEM + 2 * (32 + 32)  # and two more batch norms of 32 channels
STEM_MACS = 2 * 128**2 * (DEEP_STEM - PLAIN_STEM)

# The high-resolution branch, both dates, and how the decoder of full width takes its maps in: channels and stride of
# every 3x3 convolution, each with a batch norm. The classifier then has 32 channels at stride 2, not 128 at stride 4.
BRANCH = ((3, 16, 1), (16, 32, 2), (32, 32, 2), (32, 64, 4), (64, 64, 4), (64, 96, 8), (96, 96, 8))
REFINEMENT = ((96, 128, 8), (64 + 128, 128, 4), (32 + 128 + 128, 32, 2), (32, 32, 2))
BRANCH_PARAMETERS = sum(9 * i * o + 2 * o for i, o, _ in BRANCH + REFINEMENT) + 32 - 128
BRANCH_MACS = (
    sum(9 * i * o * (256 // stride) ** 2 for i, o, stride in 2 * BRANCH + REFINEMENT)
    + 32 * 128**2
    - 128 * 64**2
)

SHIPPED = {
    'hsonet_levir': ('r18', FULL, 16_743_649, STEM_PARAMETERS, STEM_MACS),
    'hsonet_r50_levir': ('r50', FULL, 31_385_313, STEM_PARAMETERS, STEM_MACS),
    'hsonet_pvtv2_b1_levir': ('b1', FULL, 19_060_289, 0, 0),
    'hsonet_pvtv2_b2_levir': ('b2', FULL, 30_414_145, 0, 0),
}


def build(backbone, width, detail=()):
    """HSONet with another backbone or width, from the shipped config."""
    cfg = Config.fromfile(CONFIGS / 'hsonet_levir.py')
    pyramid, decoder = width
    if backbone.startswith('r'):
        cfg.model.backbone.update(type='mmseg.ResNet', depth=int(backbone[1:]))
    else:
        cfg.model.backbone = {'type': 'hsonet_mm.PVTv2', 'variant': backbone}
    cfg.model.neck.update(in_channels=STAGES[backbone], out_channels=pyramid)
    cfg.model.detail = {'type': 'hsonet_mm.DetailBranch', 'channels': list(detail)} if detail else None
    cfg.model.decode_head.update(
        in_channels=[*detail, *[pyramid] * 4, STAGES[backbone][3]],
        association_channels=pyramid,
        channels=decoder,
    )
    init_default_scope('opencd')
    return MODELS.build(cfg.model)


# --- what is counted


class Attention(nn.Module):
    def forward(self, x):  # N, 6, 8, 8 as 6 heads of 8 tokens and 8 channels
        return F.scaled_dot_product_attention(x, x, x)


@pytest.mark.parametrize(
    ('network', 'expected'),
    [
        (nn.Conv2d(6, 10, 3, padding=1), 6 * 10 * 9 * 8 * 8),
        (nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6), 6 * 9 * 4 * 4),
        (nn.Sequential(nn.Flatten(), nn.Linear(6 * 64, 5)), 6 * 64 * 5),
        (nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Upsample(scale_factor=2), nn.MaxPool2d(2)), 0),
        (nn.Sequential(Attention(), nn.Conv2d(6, 1, 1)), 6 * 2 * 8 * 8 * 8 + 6 * 64),
    ],
)
def test_macs_by_hand(network, expected):
    network.backbone_inchannels = 3
    assert macs(network, (8, 8)) == expected


def test_attention_counts_with_gradients_needed_too():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), Attention())
    assert macs(network, (8, 8)) == 9 * 64 + 3 * 2 * 8**3  # three channels: no change detector


def test_parameters_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2, bias=False))
    network[0].weight.requires_grad_(False)
    assert parameters(network) == 3 * 4 * 9 + 4 + 2 * 4 + 8


@pytest.mark.parametrize('training', [True, False])
def test_measuring_changes_nothing(training):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    macs(network, (8, 8))
    assert network.training is network[1].training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_macs_grow_with_the_image():
    network = nn.Conv2d(3, 4, 1)
    assert macs(network, (16, 8)) == 2 * macs(network, (8, 8)) == 2 * 12 * 64


# --- the sizes of HSONet


@pytest.fixture
def weightless():
    """Networks built here have shapes but no weights, and take no time."""
    with torch.device('meta'):
        yield


@pytest.mark.usefixtures('weightless')
@pytest.mark.parametrize(('backbone', 'width'), SIZES)
def test_backbones_and_widths(backbone, width):
    model = build(backbone, width)
    millions, gmacs = SIZES[backbone, width]
    assert parameters(model) / 1e6 == pytest.approx(millions, rel=0.03)
    assert macs(model) / 1e9 == pytest.approx(gmacs, rel=0.03)


@pytest.mark.usefixtures('weightless')
@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_config(name):
    backbone, width, exact, stem_parameters, stem_macs = SHIPPED[name]
    millions, gmacs = SIZES[backbone, width]
    model = build_untrained(CONFIGS / f'{name}.py')
    assert parameters(model) == exact + BRANCH_PARAMETERS
    assert (exact - stem_parameters) / 1e6 == pytest.approx(millions, rel=0.03)
    assert (macs(model) - BRANCH_MACS - stem_macs) / 1e9 == pytest.approx(gmacs, rel=0.03)


@pytest.mark.usefixtures('weightless')
@pytest.mark.parametrize(
    ('name', 'backbone', 'exact'),
    [('hsonet_levir', 'r18', 16_724_417), ('hsonet_r50_levir', 'r50', 31_366_081)],
)
def test_deep_stem_is_the_whole_difference(name, backbone, exact):
    deep, plain = build_untrained(CONFIGS / f'{name}.py'), build(backbone, FULL, (32, 64, 96))
    assert parameters(plain) == exact + BRANCH_PARAMETERS
    assert parameters(deep) - parameters(plain) == STEM_PARAMETERS
    assert macs(deep) - macs(plain) == STEM_MACS


@pytest.mark.usefixtures('weightless')
def test_branch_costs_what_its_convolutions_say():
    whole, without = build('r18', FULL, (32, 64, 96)), build('r18', FULL)
    assert parameters(whole) - parameters(without) == BRANCH_PARAMETERS
    assert macs(whole) - macs(without) == BRANCH_MACS


@pytest.mark.usefixtures('weightless')
def test_association_costs_what_the_sizes_say():
    whole = build_untrained(CONFIGS / 'hsonet_levir.py')
    without = build_untrained(CONFIGS / 'ablations' / 'hsonet_levir_no_association.py')
    assert (macs(whole) - macs(without)) / 1e9 == pytest.approx(1.43, rel=0.01)
    scene = (512 * 256 + 256) + (256 * 256 + 256)  # two convolutions with biases, from C5 of ResNet-18
    encoders = 2 * (256 * 256 + 2 * 256)  # psi and phi: a convolution and the scale and shift of its norm
    assert parameters(whole) - parameters(without) == 4 * (scene + encoders)


@pytest.mark.usefixtures('weightless')
def test_lite_is_small():
    model = build_untrained(CONFIGS / 'hsonet_lite_levir.py')
    assert parameters(model) == 4_148_433
    assert macs(model) == pytest.approx(4.91e9, rel=0.03)


# --- the tool


@pytest.mark.usefixtures('weightless')
def test_documented_sizes_are_measured(repo):
    text = (repo / 'docs' / 'sizes.md').read_text()
    rows = re.findall(r'^\| ([a-z]\w+) \| ([\d.]+) \| ([\d.]+) \|$', text, re.M)
    baselines = {path.stem for path in CONFIGS.glob('baselines/[a-z]*.py')}
    assert len(rows) == 8 + len(baselines)
    assert baselines < {name for name, _, _ in rows}
    for name, millions, gmacs in rows:
        (path,) = CONFIGS.rglob(f'{name}.py')
        model = build_untrained(path)
        assert (f'{parameters(model) / 1e6:.2f}', f'{macs(model) / 1e9:.2f}') == (millions, gmacs), name


def test_size_of_the_images_is_an_option(capsys):
    assert main([str(CONFIGS / 'hsonet_lite_levir.py'), '--size', '64', '128']) == 0
    header, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert 'GMACs, 64 x 128' in header
    assert float(row.split('|')[3]) == pytest.approx(4.91 / 8, abs=0.01)


def test_bad_configs_end_in_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / 'nowhere.py')]) == 2
    assert 'nowhere.py does not exist' in capsys.readouterr().err
    for content, told in (
        ("data_root = 'here'", 'does not define a model'),
        ('model = (', r'cannot be read \(SyntaxError: '),
        ("model = {'type': 'NoSuchNetwork'}", "names the type 'NoSuchNetwork', which is not registered: "),
        ("model = {'type': 'mmseg.EncoderDecoder'}", r'cannot be built \('),
    ):
        (tmp_path / 'bad.py').write_text(content)
        assert main([str(tmp_path / 'bad.py')]) == 2
        assert re.match(rf'error: the config {tmp_path}/bad\.py {told}', capsys.readouterr().err)


@pytest.mark.parametrize('size', [('0', '0'), ('5', '64'), ('64', '31')])
def test_images_too_small_end_in_one_sentence(size, capsys):
    assert main([str(CONFIGS / 'hsonet_lite_levir.py'), '--size', *size]) == 2
    assert capsys.readouterr().err.startswith(f'error: invalid --size {" ".join(size)}: expected 32 ')
