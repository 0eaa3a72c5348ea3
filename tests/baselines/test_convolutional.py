"""FC-EF, FC-Siam-diff, FC-Siam-conc, SNUNet and TinyCD as whole networks: sizes, training, and Open-CD's outputs."""

from pathlib import Path

import pytest
import torch
from helpers import random_pairs
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from opencd_baselines import build, model_config, needs_opencd

from hsonet_mm.baselines import opencd as opencd_names  # noqa: F401 (registers TinyCD as Open-CD does)
from hsonet_mm.baselines.fcsn import FC_EF, FC_Siam_conc, FC_Siam_diff
from hsonet_mm.baselines.snunet import SNUNet_ECAM
from hsonet_mm.baselines.tinycd import TinyCD
from hsonet_mm.errors import UserError
from hsonet_mm.model_size import macs, parameters
from hsonet_mm.opencd import (
    stand_in,  # noqa: F401 (registers detectors and preprocessor)
)
from hsonet_mm.opencd.identity_head import IdentityHead

ROOT = Path(__file__).parents[2]

# Our config: Open-CD's config, parameters of the detector, MACs at 256 x 256 (counted once, to notice a change).
METHODS = {
    'fc_ef': ('fcsn/fc_ef_256x256_40k_levircd.py', 1_352_642, 3_229_614_080),
    'fc_siam_diff': ('fcsn/fc_siam_diff_256x256_40k_levircd.py', 1_352_210, 4_362_076_160),
    'fc_siam_conc': ('fcsn/fc_siam_conc_256x256_40k_levircd.py', 1_548_050, 4_966_055_936),
    'snunet_c16': ('snunet/snunet_c16_256x256_40k_levircd.py', 3_012_178, 11_683_235_072),
    'tinycd': ('tinycd/tinycd_256x256_40k_levircd.py', 285_000, 1_319_572_800),
}


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture
def published(name, opencd_configs):
    """Open-CD's own config of the method."""
    return Config.fromfile(opencd_configs / METHODS[name][0])


# Each model on its own -----------------------------------------------------------------------------------


def test_parameters_and_macs(name):
    model = build(model_config(name))
    assert parameters(model) == METHODS[name][1]
    assert macs(model) == METHODS[name][2]


def test_not_square(name):
    model = build(model_config(name)).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, 6, 32, 48))
    assert logits.shape == (2, model.out_channels, 32, 48)
    assert logits.std() > 0


@pytest.mark.parametrize('name', ['fc_ef', 'fc_siam_diff', 'fc_siam_conc', 'tinycd'])
def test_odd_sizes(name):
    """Windows that the preprocessor did not pad; only SNUNet needs multiples of 16."""
    with torch.no_grad():
        assert build(model_config(name)).eval()(torch.rand(1, 6, 37, 43)).shape[2:] == (37, 43)


def test_snunet_says_which_sizes_it_takes():
    with pytest.raises(
        UserError, match=r'^invalid input of 40 x 64 pixels for SNUNet_ECAM.*multiples of 16, .*--crop'
    ):
        build(model_config('snunet_c16')).eval()(torch.rand(1, 6, 40, 64))


def test_both_dates_count(name):
    """None of the five is symmetric."""
    model = build(model_config(name)).eval()
    t1, t2 = torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad():
        logits = model(torch.cat([t1, t2], 1))
        for other in ([t1, t1], [t2, t2], [t2, t1]):
            assert not torch.equal(logits, model(torch.cat(other, 1)))


def test_trains(name):
    """A few steps on one batch lower its loss, and every weight gets a gradient."""
    model = build(model_config(name))
    steps = build_optim_wrapper(model, {'optimizer': {'type': 'AdamW', 'lr': 1e-3}})
    batch = random_pairs()
    losses = []
    for _ in range(4):
        torch.manual_seed(1)  # the same dropout in every step
        losses.append(model.train_step(batch, steps)['loss'].item())
    assert losses[-1] < losses[0]
    assert len(steps.optimizer.state) == len(
        [*model.parameters()]
    )  # it keeps a state for what had a gradient


@pytest.mark.parametrize(
    ('cls', 'fields', 'told'),
    [
        (FC_EF, {'in_channels': 3}, '^invalid in_channels 3 of FC_EF'),
        (FC_EF, {'in_channels': 0}, 'invalid .*in_channels=0'),
        (FC_Siam_diff, {'in_channels': 3, 'base_channel': 0}, '^invalid .*base_channel=0 of FC_Siam_diff'),
        (FC_Siam_conc, {'in_channels': -1}, '^invalid in_channels=-1, .*FC_Siam_conc'),
        (SNUNet_ECAM, {'in_channels': 3, 'base_channel': 2}, '^invalid .*base_channel=2 of SNUNet_ECAM'),
        (TinyCD, {'in_channels': 4}, '^invalid in_channels 4 of TinyCD: expected 3'),
        (TinyCD, {'in_channels': 3, 'bkbn_name': 'resnet18'}, "^invalid bkbn_name 'resnet18' of TinyCD"),
        (TinyCD, {'in_channels': 3, 'output_layer_bkbn': '2'}, "^invalid output_layer_bkbn '2' of TinyCD"),
        (TinyCD, {'in_channels': 3, 'classifier': 'mine'}, "^invalid classifier 'mine' of TinyCD: expected"),
    ],
)
def test_wrong_fields_are_refused_in_a_sentence(cls, fields, told):
    with pytest.raises(UserError, match=told) as caught:
        cls(**fields)
    assert '\n' not in str(caught.value)


def test_identity_head():
    """The chosen map itself, and no weights; also from several maps."""
    head = IdentityHead(in_channels=1, in_index=1, num_classes=2, out_channels=1, threshold=0.5)
    maps = [torch.rand(1, 1, 4, 4), torch.rand(1, 1, 8, 8)]
    assert head(maps) is maps[1]
    assert not head.state_dict()
    head.init_weights()


# Beside Open-CD -------------------------------------------------------------------------------------------


@pytest.mark.opencd_configs
def test_opencds_config_builds_and_trains_unchanged(name, published):
    """With Open-CD's optimiser too; what it would download comes later, when a run starts."""
    model = build(published.model)
    assert all(type(part).__module__.startswith('hsonet_mm.') for part in (model, model.backbone))
    assert parameters(model) == METHODS[name][1]
    before = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    losses = model.train_step(random_pairs(), build_optim_wrapper(model, published.optim_wrapper))
    assert torch.isfinite(losses['loss'])
    assert not [key for key, weight in model.named_parameters() if torch.equal(weight, before[key])]


@pytest.mark.opencd_configs
def test_our_config_is_opencds(name, published):
    """The same fields but for the qualified names and TinyCD's download."""
    ours, theirs = model_config(name).to_dict(), published.model.to_dict()
    assert theirs.pop('pretrained') is None
    if name == 'tinycd':
        assert theirs['backbone'].pop('pretrained') is True
        assert ours['backbone'].pop('pretrained') is False
    assert ours == theirs


@pytest.fixture
def both(name):
    """The real model and ours, with the same weights, which went both ways."""
    real, ours = build(model_config(name), 'opencd'), build(model_config(name))
    assert type(real.backbone).__module__.startswith('opencd.')
    generator = torch.Generator().manual_seed(3)
    weights = {
        key: weight
        if 'num_batches' in key
        else torch.rand(weight.shape, generator=generator) + 0.5
        if key.endswith('running_var')
        else weight + 0.05 * torch.randn(weight.shape, generator=generator)
        for key, weight in real.state_dict().items()
    }
    ours.load_state_dict(weights)
    real.load_state_dict(ours.state_dict())
    return real, ours


@pytest.mark.opencd
@needs_opencd
def test_same_keys_in_the_same_order_as_opencd(both):
    """So that an optimiser's state, which goes by order, can be taken over as well."""
    real, ours = both
    assert list(real.state_dict()) == list(ours.state_dict())
    assert [key for key, _ in real.named_parameters()] == [key for key, _ in ours.named_parameters()]


@pytest.mark.opencd
@needs_opencd
@pytest.mark.parametrize('training', [False, True])
def test_same_outputs_as_opencd(both, training):
    """Also in training, dropout included, but for TinyCD's stochastic depth, which draws differently."""
    inputs = torch.randn(2, 6, 64, 96, generator=torch.Generator().manual_seed(4))
    outputs = []
    for model in both:
        model.train(training)
        for module in model.modules():
            if type(module).__name__ == 'StochasticDepth':
                module.p = 0.0
            elif type(module).__name__ == 'DropPath':
                module.drop_prob = 0.0
        torch.manual_seed(0)
        with torch.no_grad():
            outputs.append(model(inputs))
    real, ours = outputs
    assert real.std() > 1e-3
    torch.testing.assert_close(ours, real, rtol=0, atol=1e-5)
    for key, value in both[0].state_dict().items():  # the running statistics
        torch.testing.assert_close(both[1].state_dict()[key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.opencd
@needs_opencd
@torch.no_grad()
def test_initial_weights_are_drawn_like_opencds(name):
    """The same spread of every tensor of some size, and what is constant there is the same constant."""
    real, ours = build(model_config(name), 'opencd'), build(model_config(name))
    for model in (real, ours):
        model.init_weights()
    for key, weight in real.named_parameters():
        same = ours.get_parameter(key)
        if weight.numel() >= 1000:
            assert same.std().item() == pytest.approx(weight.std().item(), rel=0.15), key
        elif weight.numel() > 1 and weight.std() == 0:
            assert torch.equal(same, weight), key
