"""USSFC-Net and the plain Siamese U-Nets as whole networks: sizes, a step of training, and predictions."""

import pytest
import torch
import torch.nn.functional as F
from own_baselines import CONFIGS, batch, build

from hsonet_mm.model_size import build_untrained, macs, parameters

SIZES = {
    'ussfc_net': (1_518_977, 3_090_153_472),  # as published: 1,518,977 parameters, 3.090 GMACs
    'ussfc_net_psconv': (1_518_977, 3_090_153_472),
    'unet_lite0': (6_248_657, 3_664_216_064),
    'unet_r18': (16_282_673, 8_837_398_528),
}
every_config = pytest.mark.parametrize('name', SIZES)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def untrained(network):
    """Names of parameters without a gradient; that of a bias before a batch norm is zero but for rounding."""
    before_norm = ('.0.bias', '.3.bias')
    return [
        name
        for name, p in network.named_parameters()
        if p.grad is None or not (p.grad.any() or name.endswith(before_norm))
    ]


@every_config
def test_size(name):
    with torch.device('meta'):
        model = build_untrained(CONFIGS / f'{name}.py')
    assert (parameters(model), macs(model)) == SIZES[name]


@every_config
def test_two_steps_train_every_parameter(name):
    model = build(name).train()
    data = model.data_preprocessor(batch(64, 96), training=True)
    changed = torch.stack([sample.gt_sem_seg.data for sample in data['data_samples']]).float()
    start = model.decode_head.conv_seg.bias.detach().expand_as(changed)
    blind = F.binary_cross_entropy_with_logits(start, changed)  # of a network that knows nothing
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):  # two, for a ResNet starts with closed residual branches
        optimiser.zero_grad()
        log = model(**data, mode='loss')
        assert [key for key in log if 'acc' not in key] == ['decode.loss_ce']
        losses.append(log['decode.loss_ce'])
        losses[-1].backward()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        optimiser.step()
    assert losses[0].item() == pytest.approx(blind.item(), abs=0.3)
    assert losses[1] < losses[0]
    assert untrained(model) == []


@every_config
@pytest.mark.parametrize(('height', 'width'), [(64, 96), (60, 90)])
def test_prediction_has_the_size_of_the_input(name, height, width):
    model = build(name).eval()
    data = batch(height, width, n=1)
    inputs = model.data_preprocessor(data, training=False)['inputs']
    assert inputs.shape == (1, 6, 64, 96)  # padded to multiples of 32
    assert model(inputs).shape == (1, 1, 64, 96)
    (result,) = model.test_step(data)
    assert result.pred_sem_seg.shape == result.seg_logits.shape[-2:] == (height, width)
    assert result.seg_logits.data.isfinite().all()


@pytest.mark.parametrize('name', ['ussfc_net', 'unet_lite0'])
def test_weights_move_to_a_new_network(name):
    model, other = build(name).eval(), build(name).eval()
    x = torch.randn(1, 6, 64, 64)
    assert not torch.equal(model(x), other(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x), other(x))
