"""Test-time augmentation in the hosts' test loop: the mean of probabilities, and masks by the model's own threshold."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.structures import SegDataSample
from torch import nn

from hsonet_mm.models import ChangeTTAModel
from hsonet_mm.models.decode_heads.cascade import last_head


class Detector(nn.Module):
    """What a TTA model asks of a detector."""

    def __init__(self, out_channels, threshold=0.5, cascade=False):
        super().__init__()
        self.out_channels = out_channels
        head = nn.Module()
        head.threshold = threshold
        self.decode_head = nn.ModuleList([nn.Module(), head]) if cascade else head

    def test_step(self, data):
        raise NotImplementedError


def views(*scores):
    """One pair as the detector returns it, once for each view."""
    samples = []
    for score in scores:
        sample = SegDataSample(metainfo={'img_path': ['A/x.png', 'B/x.png']})
        sample.gt_sem_seg = PixelData(data=torch.ones(1, *score.shape[1:], dtype=torch.long))
        sample.seg_logits = PixelData(data=score)
        sample.pred_sem_seg = PixelData(data=torch.zeros(1, *score.shape[1:], dtype=torch.long))
        samples.append(sample)
    return samples


def test_the_last_head_of_a_cascade_counts():
    cascade, single = Detector(1, cascade=True), Detector(1)
    assert last_head(cascade) is cascade.decode_head[1]
    assert last_head(single) is single.decode_head


@pytest.mark.parametrize('cascade', [False, True])
def test_one_channel_is_averaged_and_compared_with_the_threshold(cascade):
    """The scores of a one-channel head are probabilities already; the host's model makes 0.1 and 0.3 changed."""
    pair = torch.tensor([[[0.1, 0.5, 0.9]]]), torch.tensor([[[0.3, 0.9, 0.7]]])
    (found,) = ChangeTTAModel(Detector(1, 0.75, cascade)).merge_preds([views(*pair)])
    torch.testing.assert_close(found.seg_logits.data, torch.tensor([[[0.2, 0.7, 0.8]]]))
    assert found.pred_sem_seg.data.tolist() == [[[0, 0, 1]]]
    assert found.pred_sem_seg.data.dtype == torch.long
    assert found.img_path == ['A/x.png', 'B/x.png']
    assert found.gt_sem_seg.data.all()
    if not cascade:
        (host,) = SegTTAModel(Detector(1, 0.5)).merge_preds([views(*pair)])
        assert host.pred_sem_seg.data.all()


def test_two_channels_stay_logits_of_the_mean_probability():
    one, other = np.array([2.0, 0.0]), np.array([-1.0, 0.0])  # unchanged minus changed
    scores = [torch.tensor(x).view(2, 1, 1) for x in (one, other)]
    (found,) = ChangeTTAModel(Detector(2)).merge_preds([views(*scores)])
    unchanged = np.mean([1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(1.0))])
    assert found.seg_logits.data.softmax(dim=0)[0].item() == pytest.approx(unchanged)
    assert found.pred_sem_seg.data.item() == 0
    (found,) = ChangeTTAModel(Detector(2)).merge_preds([views(-scores[0], -scores[1])])
    assert found.pred_sem_seg.data.item() == 1


def test_views_of_the_shipped_pipeline_come_back_to_their_place(repo, tiny_data):
    """A detector that reads brightness off the image: every view gives the same map again, and so does the mean."""
    init_default_scope('opencd')
    from mmengine.registry import DATASETS, MODELS

    cfg = Config.fromfile(repo / 'configs' / 'hsonet_levir.py')
    dataset = {**cfg.test_dataloader.dataset, 'data_root': str(tiny_data), 'pipeline': cfg.tta_pipeline}
    sample = DATASETS.build(dataset)[0]
    assert len(sample['inputs']) == 3
    original = sample['inputs'][0][3:].float()
    assert torch.equal(sample['inputs'][1][3:].float(), original.flip(2))
    assert torch.equal(sample['inputs'][2][3:].float(), original.flip(1))

    from hsonet_mm.models.detectors import PairEncoderDecoder

    class Brightness(PairEncoderDecoder):
        def __init__(self):
            nn.Module.__init__(self)
            self.align_corners, self.out_channels, self.decode_head = False, 1, nn.Module()
            self.decode_head.threshold = 0.5

        def test_step(self, data):
            logits = torch.stack([x[3:].float().mean(dim=0, keepdim=True) / 16 - 8 for x in data['inputs']])
            return self.postprocess_result(logits, data['data_samples'])

    model = MODELS.build({**cfg.tta_model, 'module': Brightness()})
    assert isinstance(model, ChangeTTAModel)
    batch = {key: [[value] for value in values] for key, values in sample.items()}
    (found,) = model.test_step(batch)
    expected = (original.mean(dim=0, keepdim=True) / 16 - 8).sigmoid()
    torch.testing.assert_close(found.seg_logits.data, expected)
    assert torch.equal(found.pred_sem_seg.data.bool(), expected > 0.5)
    assert 0 < found.pred_sem_seg.data.float().mean() < 1
