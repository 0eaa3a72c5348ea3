"""The stand-in's preprocessor: the contract of Open-CD's."""

import pytest
import torch
from small_detectors import truth

from hsonet_mm.errors import UserError
from hsonet_mm.opencd import data_preprocessor


class TestPreprocessor:
    mean, std = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]

    def build(self, **kwargs) -> data_preprocessor.DualInputSegDataPreProcessor:
        return data_preprocessor.DualInputSegDataPreProcessor(
            **{'mean': self.mean, 'std': self.std, 'bgr_to_rgb': True, **kwargs}
        )

    def test_numbers(self):
        pair = torch.arange(6, dtype=torch.uint8).view(6, 1, 1) * 10
        result = self.build()({'inputs': [pair]})['inputs']
        expected = (torch.tensor([20.0, 10, 0, 50, 40, 30]) - torch.tensor(self.mean)) / torch.tensor(
            self.std
        )
        torch.testing.assert_close(result.flatten(), expected)
        plain = data_preprocessor.DualInputSegDataPreProcessor()({'inputs': [pair]})['inputs']
        torch.testing.assert_close(plain.flatten(), torch.arange(6.0) * 10)

    def test_nothing_of_it_is_in_the_state_dict(self):
        assert self.build().state_dict() == {}

    @pytest.mark.parametrize(
        ('padding', 'shape'), [({'size_divisor': 8}, (16, 24)), ({'size': (20, 30)}, (20, 30))]
    )
    def test_training_pads_right_and_bottom(self, padding, shape):
        pairs = [torch.ones(6, 10, 20, dtype=torch.uint8), torch.ones(6, 12, 18, dtype=torch.uint8)]
        samples = [truth(10, 20), truth(12, 18)]
        preprocessor = data_preprocessor.DualInputSegDataPreProcessor(pad_val=7, seg_pad_val=255, **padding)
        result = preprocessor({'inputs': pairs, 'data_samples': samples}, training=True)
        assert result['inputs'].shape == (2, 6, *shape)
        for image, data_sample, (rows, columns) in zip(
            result['inputs'], result['data_samples'], ((10, 20), (12, 18)), strict=True
        ):
            inside = torch.zeros(shape, dtype=torch.bool)
            inside[:rows, :columns] = True
            assert (image[:, inside] == 1).all()
            assert (image[:, ~inside] == 7).all()
            assert (data_sample.gt_sem_seg.data[0][inside] == 1).all()
            assert (data_sample.gt_sem_seg.data[0][~inside] == 255).all()

    def test_batch_augments(self):
        preprocessor = self.build(size_divisor=1, batch_augments=lambda batch, samples: (batch * 0, samples))
        result = preprocessor({'inputs': [torch.ones(6, 4, 4)], 'data_samples': [truth(4, 4)]}, training=True)
        assert result['inputs'].abs().max() == 0

    def test_evaluation(self):
        preprocessor = self.build(size_divisor=99, test_cfg={'size_divisor': 8})
        samples = [truth(10, 20), truth(10, 20)]
        result = preprocessor({'inputs': [torch.ones(6, 10, 20)] * 2, 'data_samples': samples})
        assert result['inputs'].shape == (2, 6, 16, 24)
        assert result['data_samples'][0].metainfo['img_padding_size'] == (0, 4, 0, 6)
        assert result['data_samples'][0].gt_sem_seg.shape == (10, 20)
        assert preprocessor({'inputs': [torch.ones(6, 10, 20)]})['inputs'].shape == (1, 6, 16, 24)

    def test_mistakes(self):
        with pytest.raises(UserError, match='batch_size=1'):
            self.build()({'inputs': [torch.ones(6, 4, 4), torch.ones(6, 4, 5)]})
        with pytest.raises(UserError, match='cancel each other'):
            self.build(rgb_to_bgr=True)
        with pytest.raises(UserError, match='both mean and std'):
            self.build(std=None)
