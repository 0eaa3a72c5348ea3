"""The working folder: an interrupted run goes on and ends the same."""

import filecmp
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import rasterio
from made_up_scene import SMALL, make_pair, replaced

from hsonet_mm.errors import UserError
from hsonet_mm.geo.rasters import ScenePair
from hsonet_mm.scenes import job as job_module
from hsonet_mm.scenes.scene import detect_scene
from hsonet_mm.windows import Window

pytestmark = pytest.mark.any_host


RUN = """
import sys
import fake_scene_detector
from hsonet_mm.scenes import job
from hsonet_mm.scenes.scene import SceneOptions, detect_scene

job.CHECKPOINT_SECONDS = 0.05
options = SceneOptions(tile=128, overlap=64, batch=3, min_area=0)
detect_scene(fake_scene_detector.FakeDetector(), *sys.argv[1:4], options)
"""


class TestResuming:
    @pytest.fixture
    def noisy(self, tmp_path):
        before, after = make_pair(tmp_path / 'in', 500, 700)
        with rasterio.open(after, 'r+') as dataset:
            image = np.random.default_rng(1).integers(0, 255, (3, 500, 700), dtype=np.uint8)
            image[:, 100:300, 200:400] = 255
            dataset.write(image)
        return before, after

    def test_killed_run_goes_on_and_ends_the_same(self, tmp_path, fake, fake_module, tool_env, noisy):
        """SIGKILL in the middle; the next run computes the rest only, and all files are byte-identical."""
        detect_scene(fake, *noisy, tmp_path / 'whole' / 'change.tif', SMALL)
        calls = fake.calls
        output = tmp_path / 'killed' / 'change.tif'
        path = os.pathsep.join([str(fake_module), tool_env['PYTHONPATH']])
        state = output.with_name('.change.tif.part') / 'state'
        process = subprocess.Popen(
            [sys.executable, '-c', RUN, *map(str, noisy), str(output)],
            env={**tool_env, 'PYTHONPATH': path, 'FAKE_SLEEP': '0.1'},
        )
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            if state.is_file() and np.frombuffer(state.read_bytes(), np.int64, 1)[0] > 20:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        done = int(np.frombuffer(state.read_bytes(), np.int64, 1)[0])
        assert [path.name for path in output.parent.iterdir()] == ['.change.tif.part']
        type(fake).calls = 0
        result = detect_scene(fake, *noisy, output, SMALL)
        assert fake.calls == calls - done // 3
        assert 0 < fake.calls < calls
        assert sorted(path.name for path in output.parent.iterdir()) == sorted(
            path.name for path in result.files.values()
        )
        names = [path.name for path in result.files.values()]
        same, different, errors = filecmp.cmpfiles(tmp_path / 'whole', output.parent, names, shallow=False)
        assert (sorted(same), different, errors) == (sorted(names), [], [])

    def test_goes_on_after_a_date_could_not_be_read(self, tmp_path, fake, noisy, monkeypatch):
        """As a drive of the network that is away for a moment."""
        whole = detect_scene(fake, *noisy, tmp_path / 'whole.tif', SMALL)
        calls = fake.calls
        monkeypatch.setattr(job_module, 'CHECKPOINT_SECONDS', 0)
        read = ScenePair.read

        def away(pair, rows, columns):
            if rows[0] > 200:
                raise UserError('after.tif cannot be read')
            return read(pair, rows, columns)

        with monkeypatch.context() as patch:
            patch.setattr(ScenePair, 'read', away)
            with pytest.raises(UserError) as caught:
                detect_scene(fake, *noisy, tmp_path / 'change.tif', SMALL)
        part = tmp_path / '.change.tif.part'
        assert str(caught.value) == f'after.tif cannot be read (work so far in {part})'
        assert part.is_dir()
        type(fake).calls = 0
        result = detect_scene(fake, *noisy, tmp_path / 'change.tif', SMALL)
        assert 0 < fake.calls < calls
        assert filecmp.cmp(result.files['probs'], whole.files['probs'], shallow=False)

    def test_interrupt_tells_how_to_go_on(self, tmp_path, fake, noisy, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(ScenePair, 'read', interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            detect_scene(fake, *noisy, tmp_path / 'change.tif', SMALL)
        part = tmp_path / '.change.tif.part'
        assert str(caught.value) == f'repeat the command to continue (work so far in {part})'
        assert part.is_dir()

    def test_interrupt_while_writing_results(self, tmp_path, fake, noisy, monkeypatch):
        output = tmp_path / 'change.tif'

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr('hsonet_mm.scenes.scene.write_geotiff', interrupted)
        with pytest.raises(KeyboardInterrupt):
            detect_scene(fake, *noisy, output, SMALL)
        monkeypatch.undo()
        assert not output.exists()
        type(fake).calls = 0
        detect_scene(fake, *noisy, output, SMALL)
        assert type(fake).calls == 0  # all tiles were there

    def test_other_options_start_anew(self, tmp_path, fake, noisy):
        output = tmp_path / 'change.tif'

        def fail(*_, **__):
            raise KeyboardInterrupt

        good, fake.probs = fake.probs, fail
        with pytest.raises(KeyboardInterrupt):
            detect_scene(fake, *noisy, output, SMALL)
        fake.probs = good
        key = output.with_name('.change.tif.part') / 'key.json'
        before = key.read_text()
        fake.probs = fail
        with pytest.raises(KeyboardInterrupt):
            detect_scene(fake, *noisy, output, replaced(overlap=32))
        assert key.read_text() != before

    @pytest.mark.parametrize('size', [0, 8, 100])
    def test_record_that_a_power_cut_left_says_that_nothing_is_done(self, tmp_path, size, monkeypatch):
        monkeypatch.setattr(job_module, 'CHECKPOINT_SECONDS', 0)
        folder, grid = tmp_path / '.change.tif.part', Window(128, 64).grid(300, 420)
        with job_module.SceneJob(folder, {}, grid, 'uint8') as job:
            job.blender.left += 1
            job.record(3)
        with job_module.SceneJob(folder, {}, grid, 'uint8') as job:
            assert job.done == 3
            assert job.blender.left.all()
        state = (folder / 'state').read_bytes()
        (folder / 'state').write_bytes(state[:size])
        with job_module.SceneJob(folder, {}, grid, 'uint8') as job:
            assert job.done == 0
            assert not job.blender.left.any()

    def test_one_process_at_a_time(self, tmp_path, fake):
        before, after = make_pair(tmp_path)
        grid = Window(128, 64).grid(300, 420)
        with (
            job_module.SceneJob(tmp_path / '.change.tif.part', {}, grid, 'uint8'),
            pytest.raises(UserError, match='another process'),
        ):
            detect_scene(fake, before, after, tmp_path / 'change.tif', SMALL)
