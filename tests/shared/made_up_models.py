"""Small models with checkpoints of random weights, and images for them."""

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from hsonet_mm import ChangeDetector

COMMON = """
custom_imports = dict(imports=['hsonet_mm'])
default_scope = 'opencd'
norm = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='SiamEncoderDecoder',
    data_preprocessor=dict(
        type='DualInputSegDataPreProcessor', mean=[120.0] * 6, std=[60.0] * 6, bgr_to_rgb=True,
        size_divisor=32, pad_val=0, seg_pad_val=255, test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type='mmseg.ResNet', depth=18, base_channels=4, norm_cfg=norm,
        init_cfg=dict(type='Pretrained', checkpoint='https://0.0.0.0/missing.pth')),
    {rest}
    train_cfg=dict(), test_cfg=dict(mode='whole'))
"""

HSONET = """
    neck=dict(type='hsonet_mm.VFPN', in_channels=[4, 8, 16, 32], out_channels=8),
    decode_head=dict(
        type='hsonet_mm.FSAssociationHead', in_channels=[8, 8, 8, 8, 32], channels=8, association_channels=8,
        num_classes=2, out_channels=1, threshold=0.4, norm_cfg=norm, align_corners=False, prior=0.4,
        loss_decode=dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True)),
"""

FCN = """
    neck=dict(type='FeatureFusionNeck', policy='abs_diff'),
    decode_head=dict(
        type='mmseg.FCNHead', in_channels=32, in_index=3, channels=8, num_convs=1, num_classes=2,
        concat_input=False, norm_cfg=norm, align_corners=False,
        loss_decode=dict(type='mmseg.CrossEntropyLoss')),
"""


def build(config_path):
    config = Config.fromfile(config_path)
    init_default_scope('opencd')
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)


def make_model(folder, name, rest):
    """A config and a checkpoint of random weights whose predictions hold both classes."""
    config = folder / f'{name}.py'
    config.write_text(COMMON.replace('{rest}', rest))
    torch.manual_seed(0)
    model = build(config)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
    classifier = model.eval().decode_head.conv_seg
    classifier.bias.data.zero_()
    pair = torch.from_numpy((np.dstack([image(1), image(2)]).astype(np.float32) - 120) / 60)
    with torch.no_grad():
        logits = model.encode_decode(pair.permute(2, 0, 1)[None], [{'img_shape': pair.shape[:2]}])[0]
        margin = logits[-1] - logits[0] * (len(logits) - 1)
        classifier.weight /= margin.std()
        classifier.bias[-1] = -margin.median() / margin.std()
    torch.save({'state_dict': model.state_dict(), 'meta': {'iter': 7}}, folder / f'{name}.pth')
    return config, folder / f'{name}.pth'


load = ChangeDetector.from_checkpoint


def image(seed, height=50, width=70):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def make_models(folder):
    """Config and checkpoint of HSONet and of a plain network."""
    return {name: make_model(folder, name, rest) for name, rest in (('hsonet', HSONET), ('fcn', FCN))}
