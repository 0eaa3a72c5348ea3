"""BIT, ChangerEx and Siamese FarSeg with ResNet-18 as whole networks: sizes, configs, training, Open-CD's numbers."""

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from opencd_baselines import model_config
from resnet_baselines import (
    CONFIGS,
    HEAD,
    RESNET,
    TINY,
    build,
    changestar,
    needs_opencd,
    same,
    share_weights,
    tiny,
    truth,
)
from torch import nn

from hsonet_mm.baselines import changer
from hsonet_mm.baselines.bit import BITHead
from hsonet_mm.baselines.changer import Changer, IA_ResNetV1c
from hsonet_mm.baselines.changestar import FarSegHead
from hsonet_mm.errors import UserError
from hsonet_mm.model_size import parameters
from hsonet_mm.opencd import (
    registry,
    stand_in,  # noqa: F401 (registers detectors and preprocessor beside the real Open-CD)
)
from hsonet_mm.opencd.transforms import MultiImgRandomRotFlip

SIZES = {'bit_r18': 2_989_638, 'changer_ex_r18': 11_390_946, 'farseg_r18': 16_965_089}
OPENCD_CONFIGS = {
    'bit/bit_r18_256x256_40k_levircd.py': 2_989_638,
    'changer/changer_ex_r18_512x512_40k_levircd.py': 11_390_946,
    'changer/changer_ex_r18_512x512_80k_s2looking.py': 11_390_946,
    'changestar/changestar_farseg_1x96_256x256_40k_levircd.py': 16_965_089,
    'changestar/changestar_farseg_1x96_512x512_40k_levircd.py': 16_965_089,
    'changestar/changestar_upernet_1x96_256x256_40k_levircd.py': None,  # another head inside ChangeStar
}


pytestmark = pytest.mark.usefixtures('opencd_scope')

# --- size and shape


@pytest.mark.parametrize('name', SIZES)
def test_size_and_shape(name):
    model = build(name).eval()
    assert parameters(model) == SIZES[name]
    height, width = 64, 96
    with torch.no_grad():
        outs = model(torch.randn(2, 6, height, width))
        (result,) = model.predict(torch.randn(1, 6, height, width), [truth(height, width)])
    divisor, channels = {'bit_r18': (1, 2), 'changer_ex_r18': (4, 2), 'farseg_r18': (4, 1)}[name]
    for logits in outs if name == 'farseg_r18' else [outs]:
        assert logits.shape == (2, channels, height // divisor, width // divisor)
    assert result.seg_logits.data.shape == (channels, height, width)
    assert result.pred_sem_seg.data.shape == (1, height, width)


@pytest.mark.parametrize('name', SIZES)
def test_configs_take_imagenet_weights_and_plain_batch_norm(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    assert cfg.model.backbone.init_cfg == {'type': 'Pretrained', 'checkpoint': 'open-mmlab://resnet18_v1c'}
    assert 'SyncBN' not in cfg.pretty_text


@pytest.mark.opencd_configs
@pytest.mark.parametrize('name', OPENCD_CONFIGS)
def test_config_of_opencd_builds_and_trains_unchanged(opencd_configs, name):
    """With Open-CD's optimiser too. Nothing is downloaded: weights are only loaded by ``init_weights``."""
    cfg = Config.fromfile(opencd_configs / name)
    model = registry.MODELS.build(cfg.model)
    assert type(model).__module__ == 'hsonet_mm.opencd.detectors'
    if OPENCD_CONFIGS[name]:
        assert parameters(model) == OPENCD_CONFIGS[name]
    with torch.no_grad():
        (result,) = model.eval().predict(torch.randn(1, 6, 64, 96), [truth(64, 96)])
    assert result.pred_sem_seg.data.shape == (1, 64, 96)
    for step in cfg.train_dataloader.dataset.pipeline:
        assert registry.TRANSFORMS.build(step) is not None

    model.train()
    before = {key: weight.detach().clone() for key, weight in model.named_parameters()}
    pairs = {'inputs': list(torch.randint(0, 256, (2, 6, 64, 96))), 'data_samples': [truth(64, 96)] * 2}
    losses = model.train_step(pairs, build_optim_wrapper(model, cfg.optim_wrapper))
    assert torch.isfinite(losses['loss'])
    assert not [key for key, weight in model.named_parameters() if torch.equal(weight, before[key])]


@pytest.mark.opencd_configs
def test_configs_of_ours_are_those_of_opencd(opencd_configs):
    """Up to batch norm, which is not synchronised, where the ImageNet weights are named, and FarSeg's Dice loss."""

    def plain(node):
        if isinstance(node, dict):
            left_out = ('norm_cfg', 'init_cfg', 'pretrained')
            return {key: plain(value) for key, value in node.items() if key not in left_out}
        return [plain(value) for value in node] if isinstance(node, list | tuple) else node

    for name, theirs in zip(SIZES, [list(OPENCD_CONFIGS)[index] for index in (0, 1, 3)], strict=True):
        ours, expected = plain(model_config(name)), plain(Config.fromfile(opencd_configs / theirs).model)
        if name == 'farseg_r18':  # MMSegmentation's Dice loss takes the only channel for "unchanged"
            assert expected['decode_head']['loss_decode'].pop()['type'] == 'mmseg.DiceLoss'
            assert ours['decode_head']['loss_decode'].pop() == {'type': 'hsonet_mm.BinaryDiceLoss'}
        assert ours == expected


# --- a step of training


def step(model, inputs, samples, optimizer):
    total, _ = model.parse_losses(model.loss(inputs, samples))
    optimizer.zero_grad()
    total.backward()
    norms = [p.grad.abs().sum() for p in model.parameters() if p.grad is not None]
    assert torch.isfinite(torch.stack([*norms, total.detach()])).all()
    optimizer.step()
    return total.item()


@pytest.mark.parametrize('name', TINY)
def test_trains(name):
    model = tiny(name).train()
    samples = [truth(64, 96), truth(64, 96)]
    inputs = torch.randn(2, 6, 64, 96)
    inputs[:, 3:, 8:24, 16:40] += 3
    model.decode_head.dropout = None
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    losses = [step(model, inputs, samples, optimizer) for _ in range(3)]
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


# --- mistakes


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda: changer.ChannelExchange(p=0), r'^invalid p 0 '),
        (lambda: changer.SpatialExchange(p=1.5), '^invalid p .* of SpatialExchange'),
        (lambda: changer.Aggregation_distribution(8, num_paths=3), '^invalid num_paths 3'),
        (
            lambda: IA_ResNetV1c(interaction_cfg=(None,), **RESNET),
            '^invalid interaction_cfg of 1 entries: expected',
        ),
        (lambda: BITHead(num_heads=5, **HEAD), '^invalid num_heads 5 .*64'),
        (lambda: BITHead(pool_mode='min', **HEAD), "^invalid pool_mode 'min' .*: expected one of max, avg$"),
        (
            lambda: Changer(in_channels=[4], in_index=[0], channels=4, interpolate_mode='nearest', **HEAD),
            "^invalid interpolate_mode 'nearest' .*: expected one of bilinear, bicubic$",
        ),
        (lambda: Changer(in_channels=[4], in_index=[0], channels=5, **HEAD), '^invalid channels 5 '),
        (
            lambda: Changer(in_channels=[4, 8], in_index=[0], channels=4, **HEAD),
            r'^invalid in_channels \[4, 8\] and in_index \[0\] ',
        ),
        (
            lambda: FarSegHead(8, in_channels=[4], in_index=[0], channels=4, **HEAD),
            r'^invalid in_channels \[4\] of FarSegHead',
        ),
        (
            lambda: changestar(inference_mode='both'),
            "^invalid inference_mode 'both' .*: expected one of t1t2, t2t1, mean$",
        ),
        (lambda: changestar(channels=16), '^invalid inner_channels 8 .*: expected 16'),
        (
            lambda: changestar(changemixin_cfg={'in_channels': 8, 'inner_channels': 8}),
            '^invalid in_channels 8 of changemixin_cfg: expected 16',
        ),
        (lambda: MultiImgRandomRotFlip(rotate_prob=2), '^invalid rotate_prob 2 of '),
        (lambda: MultiImgRandomRotFlip(flip_prob=-1), '^invalid flip_prob -1 of '),
        (lambda: MultiImgRandomRotFlip(degree=0), '^invalid degree 0 of .*: expected'),
        (lambda: MultiImgRandomRotFlip(degree=(1, 2, 3)), 'two angles or a positive number'),
    ],
)
def test_mistakes(make, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        make()
    assert '\n' not in str(error.value)


# --- beside the real Open-CD


@pytest.mark.parametrize('name', SIZES)
class TestAgainstOpenCD:
    pytestmark = needs_opencd

    def pair(self, name):
        from opencd.registry import MODELS

        ours = build(name)
        with DefaultScope.overwrite_default_scope('opencd'):
            theirs = MODELS.build(ConfigDict(model_config(name)))
        share_weights(theirs, ours)
        return theirs, ours

    def test_same_outputs(self, name):
        theirs, ours = self.pair(name)
        inputs = torch.randn(2, 6, 64, 96)
        with torch.no_grad():
            same(theirs.eval()(inputs), ours.eval()(inputs))

    def test_same_losses_and_gradients(self, name):
        """Both dates see batch norm one after the other, as there. Dropout is switched off.

        In double precision: at the kinks of ReLU and |t1 - t2| rounding alone changes a gradient visibly.
        """
        theirs, ours = (model.double() for model in self.pair(name))
        inputs, samples = torch.randn(2, 6, 64, 96, dtype=torch.float64), [truth(64, 96), truth(64, 96)]
        losses = []
        for model in (theirs, ours):
            model.train()
            model.decode_head.dropout = None
            losses.append(model.loss(inputs, samples))
            model.parse_losses(losses[-1])[0].backward()
        assert losses[0].keys() == losses[1].keys()
        for key, value in losses[0].items():
            torch.testing.assert_close(losses[1][key], value, atol=1e-5, rtol=1e-5)
        ours_by_name = ours.state_dict(keep_vars=True)
        for key, value in theirs.state_dict(keep_vars=True).items():
            if isinstance(value, nn.Parameter):
                torch.testing.assert_close(ours_by_name[key].grad, value.grad, atol=1e-4, rtol=1e-3)
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, atol=1e-5, rtol=1e-5)
