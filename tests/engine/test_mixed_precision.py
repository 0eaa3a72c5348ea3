"""Training in mixed precision: what is computed in which type, the choice by the clock, and checkpoints."""

import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from hsonet_mm.engine import mixed_precision
from hsonet_mm.engine.mixed_precision import MixedPrecisionOptimWrapper, set_precision
from hsonet_mm.errors import UserError


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch):
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cpu')


@pytest.fixture
def said(monkeypatch):
    """What is written to the log."""
    lines = []
    monkeypatch.setattr(mixed_precision, 'print_log', lambda message, **_: lines.append(message))
    return lines


class Loss(nn.Module):
    def forward(self, pred, target):
        self.seen = [pred.dtype, torch.mm(pred.flatten(1), pred.flatten(1).T).dtype]
        return (pred - target).square().mean()


class Net(BaseModel):
    """A dense and a depthwise convolution, with their output types and a clock of what they take."""

    def __init__(self, seconds=None):
        super().__init__()
        self.dense = nn.Conv2d(2, 4, 1)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.loss_decode = nn.ModuleList([Loss()])
        self.seconds = seconds or {}
        self.now = 0.0
        self.seen = []

    def forward(self, inputs, mode='loss'):  # noqa: ARG002
        y = self.dense(inputs)
        z = self.depthwise(y)
        self.seen.append((y.dtype, z.dtype))
        first = all(y.dtype != dtype for dtype, _ in self.seen[:-1])
        self.now += self.seconds.get(y.dtype, 0) + 100 * first  # memory and kernels are set up
        return {'loss': self.loss_decode[0](y + z.to(y.dtype), torch.ones(()))}


def wrapper_of(net, dtype, **kwargs):
    return MixedPrecisionOptimWrapper(torch.optim.SGD(net.parameters(), lr=1.0), dtype=dtype, **kwargs)


def steps(net, wrapper, number=1):
    for _ in range(number):
        net.train_step({'inputs': torch.ones(1, 2, 4, 4)}, wrapper)


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_only_what_is_fast_and_safe_is_computed_in_bfloat16():
    net = Net()
    steps(net, wrapper_of(net, 'bfloat16', accumulative_counts=2))  # so that the gradients are still there
    assert net.seen == [(torch.bfloat16, torch.bfloat16)]
    assert net.loss_decode[0].seen == [torch.float32, torch.float32]
    assert {p.dtype for p in net.parameters()} == {p.grad.dtype for p in net.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled('cpu')
    net(torch.ones(1, 2, 4, 4))
    assert net.seen[-1] == (torch.float32, torch.float32)  # evaluation is outside the context


@pytest.mark.parametrize(
    ('kernel', 'stride', 'groups', 'precision'),
    [
        (3, 1, 4, torch.bfloat16),
        (3, 2, 4, torch.float32),
        (5, 1, 4, torch.float32),
        (5, 2, 1, torch.bfloat16),
    ],
)
def test_depthwise_convolutions_with_a_slow_backward_pass_stay_in_float32(kernel, stride, groups, precision):
    torch.manual_seed(0)
    net = Net()
    conv = nn.Conv2d(4, 4, kernel, stride, kernel // 2, groups=groups, bias=False)
    x = torch.rand(1, 4, 8, 8)
    with wrapper_of(net, 'bfloat16').optim_context(net):
        y = conv(x)
    x, weight = (x, conv.weight) if precision == torch.float32 else (x.bfloat16(), conv.weight.bfloat16())
    assert torch.equal(y, F.conv2d(x, weight, None, stride, kernel // 2, groups=groups).bfloat16())


def test_depthwise_convolutions_of_losses_return_float32():
    net, kernels = Net(), torch.ones(4, 1, 5, 5)
    with (
        wrapper_of(net, 'bfloat16').optim_context(net),
        torch.autocast('cpu', enabled=False),  # as in a loss
    ):
        assert F.conv2d(torch.rand(1, 4, 8, 8), kernels, None, 1, 2, groups=4).dtype == torch.float32


def test_error_in_a_loss_leaves_no_autocast_behind(monkeypatch):
    net = Net()
    wrapper = wrapper_of(net, 'bfloat16')
    monkeypatch.setattr(Loss, 'forward', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        steps(net, wrapper)
    monkeypatch.undo()
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cpu')
    assert not torch.is_autocast_enabled('cpu')
    steps(net, wrapper)
    assert net.seen[-1] == (torch.bfloat16, torch.bfloat16)


def test_gradients_are_accumulated_and_clipped():
    net = Net()
    wrapper = wrapper_of(net, 'bfloat16', accumulative_counts=2, clip_grad={'max_norm': 0.01})
    start = nn.utils.parameters_to_vector(net.parameters()).clone()
    steps(net, wrapper)
    assert torch.equal(nn.utils.parameters_to_vector(net.parameters()), start)
    steps(net, wrapper)
    moved = nn.utils.parameters_to_vector(net.parameters()) - start
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-2)  # learning rate 1 times the largest norm


@pytest.mark.parametrize(
    ('bf16', 'chosen'), [(1.0, torch.bfloat16), (1.9, torch.bfloat16), (2.0, torch.float32)]
)
def test_the_clock_chooses_and_a_resumed_training_keeps_the_choice(bf16, chosen, monkeypatch, said):
    monkeypatch.setattr(mixed_precision, 'has_bf16', lambda: None)
    net = Net({torch.float32: 2.0, torch.bfloat16: bf16})
    monkeypatch.setattr(mixed_precision.time, 'perf_counter', lambda: net.now)
    wrapper = wrapper_of(net, 'auto')
    steps(net, wrapper, 11)
    dtypes = [dense for dense, _ in net.seen]
    assert dtypes == 4 * [torch.float32, torch.bfloat16] + 3 * [chosen]
    name = str(chosen).removeprefix('torch.')
    assert f'{2:.3f} s in float32 and {bf16:.3f} s in bfloat16' in said[0]
    assert said[0].endswith(f': training in {name}')

    other = Net()
    resumed = wrapper_of(other, 'auto')
    resumed.load_state_dict(wrapper.state_dict())
    steps(other, resumed, 2)
    assert [dense for dense, _ in other.seen] == [chosen] * 2
    assert resumed.state_dict()['precision'] == name


def test_without_instructions_for_bfloat16_auto_is_float32(monkeypatch, said):
    monkeypatch.setattr(mixed_precision, 'has_bf16', lambda: False)
    net = Net()
    steps(net, wrapper_of(net, 'auto'), 2)
    assert net.seen == [(torch.float32, torch.float32)] * 2
    assert said == ['The processor has no instructions for bfloat16: training in float32']


def test_states_are_exchanged_with_the_wrapper_of_mmengine():
    net = Net()
    mixed = wrapper_of(net, 'bfloat16')
    plain = OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.5))
    assert mixed.state_dict().keys() == plain.state_dict().keys()
    mixed.load_state_dict(plain.state_dict())
    assert mixed.optimizer.param_groups[0]['lr'] == 0.5
    scaled = {**plain.state_dict(), 'loss_scaler': {'scale': 1024.0}}  # of a training in float16 on a GPU
    mixed.load_state_dict(scaled)
    plain.load_state_dict({**mixed.state_dict(), 'precision': 'bfloat16'})


@pytest.mark.parametrize(
    ('dtype', 'native', 'cast', 'scale'),
    [
        ('auto', True, 'bfloat16', {'enabled': False}),
        ('auto', False, 'float16', 'dynamic'),
        ('float16', True, 'float16', 'dynamic'),
        ('bfloat16', True, 'bfloat16', {'enabled': False}),
    ],
)
def test_gpus_scale_the_loss_of_float16_alone(dtype, native, cast, scale, monkeypatch):
    seen = []
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda **_: native)
    monkeypatch.setattr(
        mixed_precision.AmpOptimWrapper, '__init__', lambda _, scale, dtype, **__: seen.append((dtype, scale))
    )
    wrapper_of(Net(), dtype)
    assert seen == [(cast, scale)]


def test_what_cannot_be_is_refused(monkeypatch):
    net = Net()
    with pytest.raises(UserError, match=r'float16 .* needs a GPU and none is found: give --amp bf16'):
        wrapper_of(net, 'float16')
    with pytest.raises(UserError, match=r"^invalid .*dtype 'half': expected"):
        wrapper_of(net, 'half')
    monkeypatch.setattr(mixed_precision, 'get_device', lambda: 'mps')
    with pytest.raises(UserError, match='not on mps'):
        wrapper_of(net, 'bfloat16')


def test_precision_of_a_config():
    cfg = Config({'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 1.0}, 'clip_grad': {'max_norm': 1}}})
    set_precision(cfg, 'bf16')
    assert cfg.optim_wrapper.type == 'hsonet_mm.MixedPrecisionOptimWrapper'
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    set_precision(cfg, 'off')
    assert cfg.optim_wrapper == {
        'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 1.0}, 'clip_grad': {'max_norm': 1}
    }  # fmt: skip
    cfg.optim_wrapper.update({'type': 'AmpOptimWrapper', 'loss_scale': 512.0})
    set_precision(cfg, 'fp16')
    assert (cfg.optim_wrapper.dtype, cfg.optim_wrapper.loss_scale) == ('float16', 512.0)
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(UserError, match=r"optim_wrapper\.type='ApexOptimWrapper'"):
        set_precision(cfg, 'auto')


def test_training_of_the_command(write_config, hsonet, tmp_path):
    """The same seed is the same training; checkpoints are float32 and go on with and without mixed precision."""
    config = write_config(tmp_path / 'amp.py', {'train_cfg.max_iters': 2})
    ends = {}
    for name, options in {'plain': (), 'mixed': ('--amp', 'bf16'), 'again': ('--amp', 'bf16')}.items():
        code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / name, *options)
        assert code == 0, stderr
        ends[name] = weights(tmp_path / name / 'iter_2.pth')
    assert all(torch.equal(ends['again'][name], value) for name, value in ends['mixed'].items())
    assert not all(torch.equal(ends['plain'][name], value) for name, value in ends['mixed'].items())
    assert {key: value.dtype for key, value in ends['plain'].items()} == {
        key: value.dtype for key, value in ends['mixed'].items()
    }
    longer = ('--resume', '--cfg-options', 'train_cfg.max_iters=4')
    for name, options in (('plain', ('--amp', 'bf16')), ('mixed', ('--amp', 'off'))):
        code, _, stderr = hsonet('train', config, '--work-dir', tmp_path / name, *options, *longer)
        assert code == 0, stderr
        assert (tmp_path / name / 'iter_4.pth').is_file()


def test_half_precision_on_a_cpu_ends_in_one_sentence(write_config, hsonet, tmp_path):
    code, _, stderr = hsonet(
        'train', write_config(tmp_path / 'amp.py'), '--amp', 'fp16', '--work-dir', tmp_path / 'work'
    )
    assert code == 2
    assert re.fullmatch(r'error: training in float16 \(--amp fp16\) needs a GPU .*\n', stderr), stderr
