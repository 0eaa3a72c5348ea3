"""The stand-in's visualiser and its hook."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from hsonet_mm.opencd import stand_in  # noqa: F401 (registers them)
from hsonet_mm.opencd.registry import HOOKS, SCOPE, VISUALIZERS


class TestVisualization:
    def predicted(self, name: str, rows: int, columns: int) -> SegDataSample:
        data_sample = SegDataSample(metainfo={'img_path': [f'A/{name}.png', f'B/{name}.png']})
        mask = torch.zeros(1, rows, columns)
        mask[:, :2] = 1
        data_sample.pred_sem_seg = PixelData(data=mask)
        return data_sample

    def visualizer(self, folder: Path):
        visualizer = VISUALIZERS.build(
            {
                'type': f'{SCOPE}.CDLocalVisualizer',
                'name': f'vis-{folder.name}',
                'alpha': 1.0,
                'save_dir': str(folder),
                'vis_backends': [{'type': f'{SCOPE}.CDLocalVisBackend'}],
            }
        )
        visualizer.dataset_meta = {
            'classes': ('unchanged', 'changed'),
            'palette': [[0, 0, 0], [255, 255, 255]],
        }
        return visualizer

    def test_hook_draws_each_image_at_its_own_size(self, tmp_path):
        hook = HOOKS.build(
            {'type': 'CDVisualizationHook', 'draw': True, 'interval': 2, 'img_shape': (1024, 1024, 3)}
        )
        runner = SimpleNamespace(visualizer=self.visualizer(tmp_path), iter=3)
        for batch, (name, rows, columns) in enumerate(
            (('skipped', 8, 8), ('one', 10, 20), ('no', 8, 8), ('two', 6, 7))
        ):
            hook.after_test_iter(runner, batch, None, [self.predicted(name, rows, columns)])
        hook.after_val_iter(runner, 1, None, [self.predicted('val.1', 4, 4)])
        pictures = {path.stem: np.asarray(Image.open(path)) for path in tmp_path.rglob('*.png')}
        assert {name: picture.shape[:2] for name, picture in pictures.items()} == {
            'one': (10, 20),
            'two': (6, 7),
            'val.1': (4, 4),
        }
        assert (pictures['two'][:2] == 255).all()
        assert (pictures['two'][2:] == 0).all()

    def test_pictures_of_equal_names_in_several_folders(self, tmp_path):
        hook = HOOKS.build({'type': 'CDVisualizationHook', 'draw': True, 'interval': 1})
        runner = SimpleNamespace(visualizer=self.visualizer(tmp_path), iter=3)
        for batch, (t1, t2) in enumerate(
            [('/d/A/austin/1.png', '/d/B/austin/1.png'), ('/d/A/vienna/1.png', '/d/B/vienna/1.tif'),
             ('/d/2/before.png', '/d/2/after.png'), ('/d/A/same.png', '/d/A/same.png')]
        ):  # fmt: skip
            data_sample = self.predicted('x', 4, 6)
            data_sample.set_metainfo({'img_path': [t1, t2]})
            hook.after_test_iter(runner, batch, None, [data_sample])
        (folder,) = {path.parent for path in tmp_path.rglob('same.png')}
        names = {str(path.relative_to(folder)) for path in tmp_path.rglob('*.png')}
        assert names == {'austin/1.png', 'vienna/1.png', 'before.png', 'same.png'}

    def test_hook_is_off_by_default_and_in_training(self, tmp_path):
        runner = SimpleNamespace(visualizer=self.visualizer(tmp_path), iter=3)
        HOOKS.build({'type': 'CDVisualizationHook', 'interval': 1}).after_test_iter(
            runner, 0, None, [self.predicted('x', 4, 4)]
        )
        HOOKS.build({'type': 'CDVisualizationHook', 'draw': True, 'interval': 1}).after_train_iter(
            runner, 0, None, {}
        )
        assert not list(tmp_path.rglob('*.png'))

    def test_label_beside_prediction(self, tmp_path):
        data_sample = self.predicted('x', 4, 6)
        data_sample.gt_sem_seg = PixelData(data=torch.ones(1, 4, 6, dtype=torch.int64))
        visualizer = self.visualizer(tmp_path)
        visualizer.add_datasample('x', np.zeros((4, 6, 3), np.uint8), [], data_sample)
        picture = np.asarray(Image.open(next(tmp_path.rglob('x.png'))))
        assert picture.shape == (4, 12, 3)
        assert picture[:, :6].min() == 255
