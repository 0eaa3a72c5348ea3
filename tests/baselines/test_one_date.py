"""A network that sees one date in place of both."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from hsonet_mm.baselines import OneDatePreProcessor
from hsonet_mm.errors import UserError
from hsonet_mm.export.graph import PairToProbs

CONFIG = Path(__file__).parents[2] / 'configs/baselines/fc_siam_conc.py'
FIELDS = {'mean': [127.0] * 6, 'std': [128.0] * 6, 'size_divisor': 32, 'test_cfg': {'size_divisor': 32}}


def sample(height, width):
    """A labelled pair as data loaders give it."""
    one = SegDataSample(metainfo={'img_shape': (height, width), 'ori_shape': (height, width)})
    one.gt_sem_seg = PixelData(data=torch.randint(0, 2, (1, height, width)))
    return one


@pytest.mark.parametrize('date', [1, 2])
@pytest.mark.parametrize('training', [True, False])
def test_prepares_a_pair_of_one_date(date, training):
    """What the usual preprocessor makes of that date twice; labels go along."""
    init_default_scope('opencd')
    usual = MODELS.build({'type': 'DualInputSegDataPreProcessor', **FIELDS})
    pair = torch.randint(0, 256, (6, 32, 64), dtype=torch.uint8)
    shown = pair[:3] if date == 1 else pair[3:]
    one = OneDatePreProcessor(date, **FIELDS)({'inputs': [pair], 'data_samples': [sample(32, 64)]}, training)
    twice = usual({'inputs': [torch.cat([shown, shown])], 'data_samples': [sample(32, 64)]}, training)
    assert torch.equal(one['inputs'], twice['inputs'])
    assert torch.equal(one['inputs'][:, :3], one['inputs'][:, 3:])
    assert one['data_samples'][0].gt_sem_seg.shape == (32, 64)


def test_the_other_date_has_no_say():
    """Predictions of a detector behind it do not change with date 2, and do with date 1; it trains."""
    init_default_scope('opencd')
    cfg = Config.fromfile(CONFIG).model
    cfg.data_preprocessor.type = 'hsonet_mm.OneDatePreProcessor'
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    t1, t2, other = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    loss = model.train().forward(
        **model.data_preprocessor(
            {'inputs': [torch.cat([t1, t2])] * 2, 'data_samples': [sample(32, 32)] * 2}, True
        ),
        mode='loss',
    )
    assert all(torch.isfinite(value).all() for value in loss.values())

    def logits(*dates):
        batch = {'inputs': [torch.cat(dates)], 'data_samples': [sample(32, 32)]}
        return model.eval().test_step(batch)[0].seg_logits.data

    with torch.no_grad():
        assert torch.equal(logits(t1, t2), logits(t1, other))
        assert not torch.equal(logits(t1, t2), logits(other, t2))


def test_is_not_exported():
    """The graph would need the date that is shown; a sentence says so."""
    init_default_scope('opencd')
    cfg = Config.fromfile(CONFIG).model
    cfg.data_preprocessor.type = 'hsonet_mm.OneDatePreProcessor'
    with pytest.raises(UserError, match='data_preprocessor OneDatePreProcessor cannot be exported'):
        PairToProbs(MODELS.build(cfg).eval())


def test_there_are_two_dates():
    with pytest.raises(UserError, match=r'^invalid date 0 of OneDatePreProcessor: expected 1 or 2'):
        OneDatePreProcessor(0)
