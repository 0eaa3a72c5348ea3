"""Made-up scenes and a detector without a network; what needs an extra is imported by the fixtures."""

import sys

import pytest

FAKE = '''
import os
import time

import numpy as np

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.scenes.model import ModelSpec
from hsonet_mm.windows import default_window


class FakeDetector:
    """Difference of the dates; knows nothing but the pixel."""

    threshold, threshold_source, name, versions = 0.5, 'given', 'fake', {'fake': '1'}
    reading = Reading()
    window = default_window(None, None)
    ground_resolution = None
    tta = ()
    calls = 0

    def whole(self):
        return self

    def probs(self, t1, t2, channel_order):
        assert channel_order == 'rgb'
        FakeDetector.calls += 1
        time.sleep(float(os.environ.get('FAKE_SLEEP', 0)))
        assert t1.dtype == t2.dtype == np.uint8
        assert t1.shape == t2.shape and t1.shape[3] == 3
        assert t1.flags.c_contiguous
        return np.abs(t1.astype(np.float32) - t2).mean(3) / 255


class FakeSpec(ModelSpec):
    def load(self):
        if 'broken' in self.files[0]:
            raise UserError('the model is broken: take another')
        return FakeDetector()
'''


@pytest.fixture(scope='session')
def fake_module(tmp_path_factory):
    """Folder with the module of the fake detector, importable here and in processes."""
    folder = tmp_path_factory.mktemp('fake')
    (folder / 'fake_scene_detector.py').write_text(FAKE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def fake(fake_module):
    assert fake_module.is_dir()
    import fake_scene_detector

    fake_scene_detector.FakeDetector.calls = 0
    return fake_scene_detector.FakeDetector()


@pytest.fixture
def two_folders(tmp_path):
    """Three scenes; the second date of one is damaged."""
    from made_up_scene import make_pair

    for name in ('one', 'two', 'three'):
        before, after = make_pair(tmp_path / name)
        for path, folder in ((before, 'a'), (after, 'b')):
            (tmp_path / folder).mkdir(exist_ok=True)
            path.rename(tmp_path / folder / f'{name}.tif')
    (tmp_path / 'b' / 'two.tif').write_bytes(b'no raster')
    return tmp_path / 'a', tmp_path / 'b'


@pytest.fixture
def pair(tmp_path):
    from made_up_scene import write

    (tmp_path / 'in').mkdir()
    return write(tmp_path / 'in' / 'before.tif'), write(tmp_path / 'in' / 'after.tif')
