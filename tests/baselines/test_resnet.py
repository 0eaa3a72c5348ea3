"""BIT, ChangerEx and Siamese FarSeg with ResNet-18: size, shape, Open-CD's configs, training, and Open-CD's numbers."""

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from hsonet_mm.baselines import changer
from hsonet_mm.baselines.bit import BITHead
from hsonet_mm.baselines.changer import Changer, IA_ResNet, IA_ResNetV1c
from hsonet_mm.baselines.changestar import ChangeStarHead, FarSegHead
from hsonet_mm.errors import UserError
from hsonet_mm.model_size import parameters
from hsonet_mm.models import VFPN
from hsonet_mm.opencd import (
    compat,
    registry,
    stand_in,  # noqa: F401 (registers detectors and preprocessor beside the real Open-CD)
)
from hsonet_mm.opencd.transforms import MultiImgRandomRotFlip

CONFIGS = Path(__file__).parents[2] / 'configs' / 'baselines'
SIZES = {'bit_r18': 2_989_638, 'changer_ex_r18': 11_390_946, 'farseg_r18': 16_965_089}
OPENCD_CONFIGS = {
    'bit/bit_r18_256x256_40k_levircd.py': 2_989_638,
    'changer/changer_ex_r18_512x512_40k_levircd.py': 11_390_946,
    'changer/changer_ex_r18_512x512_80k_s2looking.py': 11_390_946,
    'changestar/changestar_farseg_1x96_256x256_40k_levircd.py': 16_965_089,
    'changestar/changestar_farseg_1x96_512x512_40k_levircd.py': 16_965_089,
    'changestar/changestar_upernet_1x96_256x256_40k_levircd.py': None,  # another head inside ChangeStar
}
HEAD = {'num_classes': 2, 'loss_decode': {'type': 'mmseg.CrossEntropyLoss'}}
RESNET = {'depth': 18, 'base_channels': 8, 'stem_channels': 8, 'norm_cfg': {'type': 'BN'}}

needs_opencd = [
    pytest.mark.opencd,
    pytest.mark.skipif(not compat.OPENCD_AVAILABLE, reason='Open-CD is not in this environment'),
]


@pytest.fixture(autouse=True)
def _scope(request, monkeypatch):
    """Configs name Open-CD's components, which are ours here."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', type(DefaultScope._instance_dict)())
    DefaultScope.get_instance(request.node.name, scope_name=registry.SCOPE)
    torch.manual_seed(0)


def config(name):
    return Config.fromfile(CONFIGS / f'{name}.py').model


def build(name):
    return registry.MODELS.build(config(name))


def truth(height, width):
    data_sample = SegDataSample(metainfo={'ori_shape': (height, width), 'img_shape': (height, width)})
    data_sample.gt_sem_seg = PixelData(data=torch.zeros(1, height, width, dtype=torch.int64))
    data_sample.gt_sem_seg.data[:, 8:24, 16:40] = 1
    data_sample.gt_sem_seg.data[:, -4:] = 255
    return data_sample


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
        ours, expected = plain(config(name)), plain(Config.fromfile(opencd_configs / theirs).model)
        if name == 'farseg_r18':  # MMSegmentation's Dice loss takes the only channel for "unchanged"
            assert expected['decode_head']['loss_decode'].pop()['type'] == 'mmseg.DiceLoss'
            assert ours['decode_head']['loss_decode'].pop() == {'type': 'hsonet_mm.BinaryDiceLoss'}
        assert ours == expected


# --- the parts


@pytest.mark.parametrize(
    ('kind', 'p', 'taken'),
    [
        ('ChannelExchange', 1 / 2, [1, 0, 1, 0, 1, 0]),
        ('ChannelExchange', 1 / 3, [1, 0, 0, 1, 0, 0]),
        ('SpatialExchange', 1 / 2, [1, 0, 1, 0, 1, 0]),
        ('SpatialExchange', 1, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_exchange(kind, p, taken):
    x1, x2 = torch.zeros(2, 6, 5, 6), torch.ones(2, 6, 5, 6)
    out1, out2 = getattr(changer, kind)(p=p)(x1, x2)
    shape = (1, 6, 1, 1) if kind == 'ChannelExchange' else (1, 1, 1, 6)
    assert torch.equal(out1, torch.tensor(taken).view(shape).expand_as(x1).float())
    assert torch.equal(out2, 1 - out1)


def test_interactions_follow_each_stage():
    """Without one the dates know nothing of each other; an exchange of all channels swaps them."""
    t1, t2 = torch.randn(2, 1, 3, 32, 64)
    backbone = IA_ResNet(**RESNET)
    backbone.eval()
    with torch.no_grad():
        alone = backbone(t1, t2)
        backbone.ccs[2] = changer.ChannelExchange(p=1)
        swapped = backbone(t1, t2)
        assert [level.shape[1:] for level in alone] == [(16, 8, 16), (32, 4, 8), (64, 2, 4), (128, 1, 2)]
        for level, (one, other) in enumerate(zip(alone, swapped, strict=True)):
            first, second = one.chunk(2, dim=1)
            expected = torch.cat([second, first], dim=1) if level >= 2 else one
            torch.testing.assert_close(other, expected)


def test_two_identity_and_aggregation():
    x1, x2 = torch.randn(2, 2, 32, 4, 6)
    assert changer.TwoIdentity()(x1, x2) == (x1, x2)
    layer = changer.Aggregation_distribution(32).eval()
    for out, x in zip(layer(x1, x2), (x1, x2), strict=True):
        share = out / x
        assert share.shape == x.shape
        assert ((share > 0) & (share < 1)).all()
        torch.testing.assert_close(share, share[..., :1, :1].expand_as(share), atol=1e-5, rtol=1e-4)


def test_flow_moves_features():
    """A flow of (w, 0) points half a map to the right, so that what stands there comes to the middle."""
    from hsonet_mm.baselines.changer import warp

    x = torch.arange(5.0).expand(1, 1, 3, 5)
    flow = torch.zeros(1, 2, 3, 5)
    torch.testing.assert_close(warp(x, flow), x)
    flow[:, 0] = 5.0 / 2  # a quarter of the map, which is 4 pixels from first to last column
    torch.testing.assert_close(warp(x, flow)[0, 0, 0, :4], x[0, 0, 0, 1:])
    assert warp(x.half(), flow.half()).dtype == torch.half


@pytest.mark.parametrize(
    'kwargs', [{}, {'use_tokenizer': False}, {'use_tokenizer': False, 'pool_mode': 'avg'}]
)
@pytest.mark.parametrize('enc_with_pos', [True, False])
def test_bit_does_not_depend_on_the_order_without_positions(kwargs, enc_with_pos):
    kwargs = {'embed_dims': 16, 'num_heads': 4, 'dec_depth': 2, 'enc_with_pos': enc_with_pos, **kwargs}
    head = BITHead(8, 16, in_index=0, **HEAD, **kwargs).eval()
    t1, t2 = torch.randn(2, 1, 8, 4, 6)
    with torch.no_grad():
        forth, back = (head([torch.cat(pair, dim=1)]) for pair in ((t1, t2), (t2, t1)))
    assert forth.shape == (1, 2, 32, 48)
    assert torch.allclose(forth, back, atol=1e-5) is not enc_with_pos


def changestar(**kwargs):
    cfg = {
        'in_channels': [1, 1, 1],
        'in_index': [0, 1, 2],
        'channels': 8,
        'num_classes': 2,
        'out_channels': 1,
        'threshold': 0.5,
        'dropout_ratio': 0,
        'seg_head_cfg': {
            'type': 'FarSegHead',
            'in_channels': [4, 4, 6],
            'in_index': [0, 1, 2],
            'fsr_channels': 8,
            'channels': 8,
            'norm_cfg': {'type': 'BN'},
        },
        'changemixin_cfg': {'in_channels': 16, 'inner_channels': 8, 'num_convs': 2},
        'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
    }
    return ChangeStarHead(**{**cfg, **kwargs})


def test_changestar_predicts_and_learns_in_both_orders():
    head = changestar().eval()
    feats = [torch.randn(1, 8, 8, 12), torch.randn(1, 8, 4, 6), torch.randn(1, 12, 1, 1)]
    swapped = [torch.cat(x.chunk(2, dim=1)[::-1], dim=1) for x in feats]
    with torch.no_grad():
        forth, back = head(feats)
        for one, other in zip(head(swapped), (back, forth), strict=True):
            torch.testing.assert_close(one, other)
        meta = [{'img_shape': (8, 12)}]
        for mode, expected in {'t1t2': forth, 't2t1': back, 'mean': (forth + back) / 2}.items():
            head.inference_mode = mode
            torch.testing.assert_close(head.predict_by_feat((forth, back), meta), expected)
        losses = head.loss_by_feat((forth, back), [truth(32, 48)])
    assert losses.keys() == {'t1t2.loss_ce', 't1t2.acc_seg', 't2t1.loss_ce', 't2t1.acc_seg'}
    assert losses['t1t2.loss_ce'] != losses['t2t1.loss_ce']


def test_changestar_leaves_its_config_alone():
    seg_head_cfg = config('farseg_r18').decode_head.seg_head_cfg
    before = copy.deepcopy(seg_head_cfg)
    build('farseg_r18')
    registry.MODELS.build(config('farseg_r18'))
    assert seg_head_cfg == before


# --- a step of training


TINY = {
    'bit_r18': {
        'backbone.base_channels': 8,
        'backbone.stem_channels': 8,
        'decode_head.in_channels': 32,
        'decode_head.channels': 8,
        'decode_head.dec_depth': 2,
    },
    'changer_ex_r18': {
        'backbone.base_channels': 8,
        'backbone.stem_channels': 8,
        'decode_head.in_channels': [8, 16, 32, 64],
        'decode_head.channels': 16,
        'decode_head.sampler.min_kept': 64,
    },
    'farseg_r18': {
        'backbone.base_channels': 8,
        'backbone.stem_channels': 8,
        'neck.in_channels': [8, 16, 32, 64],
        'neck.out_channels': 16,
        'decode_head.seg_head_cfg.in_channels': [16, 16, 16, 16, 64],
        'decode_head.seg_head_cfg.fsr_channels': 16,
    },
}


def tiny(name, **changes):
    cfg = Config({'model': config(name)})
    cfg.merge_from_dict({f'model.{key}': value for key, value in {**TINY[name], **changes}.items()})
    return registry.MODELS.build(cfg.model)


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


def test_changer_learns_from_hard_pixels_alone():
    """With ``min_kept`` of 64 and a threshold that no pixel is under, 128 of 12288 pixels have a weight."""
    model = tiny('changer_ex_r18', **{'decode_head.sampler.thresh': 0.0})
    samples = [truth(64, 96), truth(64, 96)]
    logits = torch.randn(2, 2, 64, 96)
    labels = torch.stack([sample.gt_sem_seg.data for sample in samples])
    weights = model.decode_head.sampler.sample(logits, labels)
    assert weights.sum() == 128
    assert (weights[labels.squeeze(1) == 255] == 0).all()
    sampled = model.decode_head.loss_by_feat(logits, samples)['loss_ce']
    model.decode_head.sampler = None
    assert 0 < sampled < model.decode_head.loss_by_feat(logits, samples)['loss_ce']


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


# --- MultiImgRandomRotFlip


def sample(rows=24, columns=40):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (rows, columns), dtype=np.uint8)
    image = np.repeat(label[..., None] * np.uint8(200), 3, axis=2)
    return {
        'img': [image, image // 2],
        'gt_seg_map': label,
        'seg_fields': ['gt_seg_map'],
        'img_shape': label.shape,
    }


def seed(number):
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002


def test_flips_keep_images_and_labels_together():
    transform = MultiImgRandomRotFlip(rotate_prob=0, flip_prob=1)
    seen = set()
    for number in range(40):
        seed(number)
        result = transform(sample())
        (t1, t2), label = result['img'], result['gt_seg_map']
        assert np.array_equal(t1[..., 0], label * 200)
        assert np.array_equal(t2[..., 0], label * 100)
        assert result['img_shape'] == label.shape
        assert t1.flags.c_contiguous
        seen.add(label.tobytes())
    assert len(seen) == 4  # a turn and a mirror; each of the four reflections in two ways


def test_rotation_fills_corners():
    seed(0)
    transform = MultiImgRandomRotFlip(rotate_prob=1, degree=(30, 40), pad_val=7, seg_pad_val=254)
    result = transform(sample())
    assert set(np.unique(result['gt_seg_map'])) == {0, 1, 254}
    for image in result['img']:
        assert image[0, 0].tolist() == [7, 7, 7]
    assert result['gt_seg_map'][0, 0] == 254
    assert MultiImgRandomRotFlip(degree=10).degree == (-10, 10)


def test_rotated_samples_are_not_flipped_too():
    for probs, same in (((0, 0), True), ((1, 1), False)):
        seed(1)
        before, after = sample(), MultiImgRandomRotFlip(*probs, degree=(0, 1e-6))(sample())
        assert np.array_equal(before['gt_seg_map'], after['gt_seg_map'])
        assert not same or all(map(np.array_equal, before['img'], after['img']))


# --- beside the real Open-CD


def real(name):
    from opencd import registry as opencd

    kinds = (opencd.MODELS, opencd.TRANSFORMS)
    with DefaultScope.overwrite_default_scope('opencd'):
        return next(cls for kind in kinds if (cls := kind.get(name)) is not None)


def shaken(module):
    """Random norms and statistics, which are ones and zeros in a new network."""
    for key, value in module.state_dict().items():
        if key.endswith('running_var'):
            value.uniform_(0.5, 1.5)
        elif key.endswith('running_mean') or ('bn' in key and key.endswith('bias')):
            value.normal_(std=0.1)
    return module


def share_weights(theirs, ours):
    """The same weights in both, loaded strictly in either direction."""
    assert type(theirs) is not type(ours)
    theirs.load_state_dict(shaken(ours).state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)


def same(theirs, ours):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize('name', SIZES)
class TestAgainstOpenCD:
    pytestmark = needs_opencd

    def pair(self, name):
        from opencd.registry import MODELS

        ours = build(name)
        with DefaultScope.overwrite_default_scope('opencd'):
            theirs = MODELS.build(ConfigDict(config(name)))
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


@pytest.mark.parametrize('training', [True, False])
class TestInteractionsAgainstOpenCD:
    pytestmark = needs_opencd

    @pytest.mark.parametrize(
        ('name', 'kwargs'),
        [
            ('TwoIdentity', {}),
            ('ChannelExchange', {}),
            ('ChannelExchange', {'p': 0.3}),
            ('SpatialExchange', {'p': 1 / 4}),
            ('SpatialExchange', {'p': 1}),
            ('Aggregation_distribution', {'channels': 32}),
        ],
    )
    def test_layers(self, training, name, kwargs):
        theirs, ours = real(name)(**kwargs), getattr(changer, name)(**kwargs)
        share_weights(theirs, ours)
        x1, x2 = torch.randn(2, 2, 32, 6, 10)
        same(tuple(theirs.train(training)(x1, x2)), tuple(ours.train(training)(x1, x2)))

    @pytest.mark.parametrize('name', ['IA_ResNet', 'IA_ResNetV1c'])
    def test_backbones(self, training, name):
        interactions = (None, {'type': 'SpatialExchange'}, {'type': 'ChannelExchange', 'p': 1 / 4}, None)
        ours = registry.MODELS.build({'type': name, 'interaction_cfg': interactions, **RESNET})
        with DefaultScope.overwrite_default_scope('opencd'):
            theirs = real(name)(interaction_cfg=interactions, **RESNET)
        share_weights(theirs, ours)
        t1, t2 = torch.randn(2, 2, 3, 64, 96)
        for backbone in (theirs, ours):
            backbone.train(training)
        same(theirs(t1, t2), ours(t1, t2))
        for key, value in theirs.state_dict().items():
            same(value, ours.state_dict()[key])


class TestPartsAgainstOpenCD:
    pytestmark = needs_opencd

    @pytest.mark.parametrize(
        'kwargs',
        [
            {'use_tokenizer': False},
            {'use_tokenizer': False, 'pool_mode': 'avg', 'pool_size': 3},
            {'enc_with_pos': False, 'enc_depth': 2, 'pre_upsample': 1, 'upsample_size': 2},
        ],
    )
    def test_bit(self, kwargs):
        theirs, ours = (
            cls(in_channels=8, channels=16, in_index=0, dec_depth=2, **HEAD, **kwargs)
            for cls in (real('BITHead'), BITHead)
        )
        share_weights(theirs, ours)
        feats = [torch.randn(2, 16, 6, 10)]
        same(theirs.eval()(feats), ours.eval()(feats))

    def test_farseg_head_alone(self):
        kwargs = {'in_channels': [4, 4, 4, 4, 6], 'in_index': [0, 1, 2, 3, 4], 'channels': 8, **HEAD}
        theirs, ours = (cls(fsr_channels=8, **kwargs) for cls in (real('FarSegHead'), FarSegHead))
        share_weights(theirs, ours)
        feats = [torch.randn(2, 4, 16 // 2**k, 24 // 2**k) for k in range(4)] + [torch.randn(2, 6, 1, 1)]
        same(theirs.eval()(feats), ours.eval()(feats))

    @pytest.mark.parametrize('policy', ['concat', 'sum', 'diff', 'abs_diff'])
    def test_farseg_fpn(self, policy):
        kwargs = {'policy': policy, 'in_channels': [4, 8], 'out_channels': 8, 'num_outs': 2}
        theirs, ours = (cls(**kwargs) for cls in (real('FarSegFPN'), VFPN))
        share_weights(theirs, ours)
        dates = [[torch.randn(2, 4, 8, 12), torch.randn(2, 8, 4, 6)] for _ in range(2)]
        same(theirs(*dates), ours(*dates))

    @pytest.mark.parametrize(
        'kwargs', [{'rotate_prob': 1}, {'rotate_prob': 0, 'flip_prob': 1}, {'degree': 45}]
    )
    def test_random_rot_flip(self, kwargs):
        for number in range(8):
            results = []
            for cls in (real('MultiImgRandomRotFlip'), MultiImgRandomRotFlip):
                seed(number)
                results.append(cls(**kwargs).transform(sample()))
            for key in ('img', 'gt_seg_map'):
                for one, other in zip(results[0][key], results[1][key], strict=True):
                    np.testing.assert_array_equal(one, other)


def test_farseg_takes_any_size():
    """A window of 40 pixels: levels of 10, 5, 3 and 2, which Open-CD's decoder cannot join."""
    t1t2, t2t1 = build('farseg_r18').eval()(torch.rand(1, 6, 40, 40))
    assert t1t2.shape == t2t1.shape == (1, 1, 10, 10)


def test_farseg_head_has_the_keys_of_opencd():
    """Written out here from Open-CD 1.1; loading gives back what was saved, below any prefix."""
    network = FarSegHead(
        8, in_channels=[4, 4, 6], in_index=[0, 1, 2], channels=8, norm_cfg={'type': 'BN'}, **HEAD
    )
    state = nn.ModuleDict({'head': network}).state_dict()
    weights = [key for key in state if key.endswith('.weight') and '.bn.' not in key]
    assert weights == [
        'head.conv_seg.weight',
        *(f'head._fsr.scene_encoder.{level}.{layer}.weight' for level in (0, 1) for layer in (0, 2)),
        *(f'head._fsr.{part}.{level}.0.conv.weight'
          for part in ('content_encoders', 'feature_reencoders') for level in (0, 1)),
        'head._decoder.blocks.0.0.0.conv.weight',
        'head._decoder.blocks.1.0.0.conv.weight',
    ]  # fmt: skip
    other = FarSegHead(
        8, in_channels=[4, 4, 6], in_index=[0, 1, 2], channels=8, norm_cfg={'type': 'BN'}, **HEAD
    )
    inputs = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4), torch.randn(1, 6, 1, 1)]
    assert not torch.equal(other.eval()(inputs), network.eval()(inputs))
    nn.ModuleDict({'head': other}).load_state_dict(state, strict=True)
    assert torch.equal(other(inputs), network(inputs))
