"""Many scenes: some fail, the others go on."""

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_scene import SMALL, replaced

from hsonet_mm.errors import UserError
from hsonet_mm.images.options import Reading, Stretch
from hsonet_mm.scenes import listing, many, worker

pytestmark = pytest.mark.any_host


class TestManyScenes:
    @pytest.fixture(autouse=True)
    def _importable(self, fake_module, tool_env, monkeypatch, tmp_path):
        monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(fake_module), tool_env['PYTHONPATH']]))
        monkeypatch.chdir(tmp_path)
        from fake_scene_detector import FakeSpec

        self.model, self.broken = FakeSpec(('model.fake',)), FakeSpec(('broken.fake',))
        (tmp_path / 'model.fake').touch()
        (tmp_path / 'broken.fake').touch()

    @pytest.mark.parametrize('workers', [None, 2])
    def test_one_fails_the_others_go_on(self, two_folders, tmp_path, workers):
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        assert [scene.output for scene in scenes] == [
            str(tmp_path / 'out' / f'{name}.tif') for name in ('one', 'three', 'two')
        ]
        outcomes = {
            outcome.scene.output[-7:-4]: outcome
            for outcome in many.run_scenes(self.model, scenes, SMALL, tmp_path / 'out', workers=workers)
        }
        assert len(outcomes) == 3
        assert 'two.tif cannot be read' in outcomes['two'].error
        assert not outcomes['one'].error
        assert outcomes['one'].summary['changed_pixels'] == 600
        assert sorted(path.name for path in (tmp_path / 'out').glob('*.tif')) == [
            'one.tif',
            'one_mask.tif',
            'three.tif',
            'three_mask.tif',
        ]
        assert not list((tmp_path / 'out').glob('.scenes*'))

    def test_workers_may_be_elsewhere(self, two_folders, tmp_path, monkeypatch):
        """The leaderboard's tests start a cluster."""
        calls = []

        def run_jobs(jobs, module, *where):
            calls.append((module, *where))
            yield SimpleNamespace(job=jobs[0], code=1, error='gone')

        monkeypatch.setattr(many, 'run_jobs', run_jobs)
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        (lost,) = many.run_scenes(self.model, scenes, SMALL, tmp_path / 'out', 'ray', 2, [], 'head:1')
        assert 'gone' in lost.error
        assert calls == [('hsonet_mm.scenes.worker', 'ray', 2, [], 'head:1')] * 2

    @pytest.fixture
    def in_process(self, monkeypatch):
        """Workers run in this process, but for jobs with scenes of these names, which die."""
        dying = []

        def run_jobs(jobs, module, *_):
            assert module == 'hsonet_mm.scenes.worker'
            for job in jobs:
                yield SimpleNamespace(job=job, code=None, error='')
                dies = any(name.encode() in job.read_bytes() for name in dying)
                with job.with_name('log.txt').open('w') as log, contextlib.redirect_stderr(log):
                    code = -9 if dies else worker.main(job)
                yield SimpleNamespace(job=job, code=code, error='')

        monkeypatch.setattr(many, 'run_jobs', run_jobs)
        return dying

    def test_process_that_dies(self, two_folders, tmp_path, in_process):
        """Scenes that shared a process with one that killed it get another one."""
        in_process.append('two.tif')
        scenes = [*listing.find_scenes(*two_folders, tmp_path / 'out')]
        scenes += [
            listing.Scene(scenes[0].before, scenes[0].after, str(tmp_path / 'out' / f'{n}.tif'))
            for n in range(7)
        ]
        options = replaced(reading=Reading(stretch=Stretch(0, 255)), dates=('2019', '2023'))
        outcomes = list(many.run_scenes(self.model, scenes, options, tmp_path / 'out', workers=2))
        failed = {outcome.scene.output: outcome.error for outcome in outcomes if outcome.error}
        assert failed == {
            str(tmp_path / 'out' / 'two.tif'): 'its process ended with code -9 (perhaps out of memory)'
        }
        assert len(outcomes) == len({outcome.scene for outcome in outcomes}) == 10
        assert outcomes[0].summary['stretch'] == ['0,255', '0,255']
        assert outcomes[0].summary['before']['name'] == '2019'

    def test_two_runs_into_one_folder_keep_apart(self, two_folders, tmp_path, in_process):
        assert not in_process
        (one, *rest) = listing.find_scenes(*two_folders, tmp_path / 'out')
        runs = [
            many.run_scenes(self.model, scenes, SMALL, tmp_path / 'out', workers=2)
            for scenes in ([one], rest)
        ]
        first, second = (next(run) for run in runs)
        found = [[first, *runs[0]], [second, *runs[1]]]
        assert [{outcome.scene for outcome in some} for some in found] == [{one}, {*rest}]

    @pytest.mark.parametrize('workers', [None, 2])
    def test_no_folder_is_left_where_all_fail(self, tmp_path, in_process, workers):
        assert not in_process
        (tmp_path / 'bad.tif').touch()
        scene = listing.Scene(
            *(str(tmp_path / name) for name in ('bad.tif', 'bad.tif', 'out/new/change.tif'))
        )
        (outcome,) = many.run_scenes(self.model, [scene], SMALL, tmp_path / 'out', workers=workers)
        assert 'bad.tif cannot be read' in outcome.error
        assert not (tmp_path / 'out').exists()

    def test_place_that_cannot_be_written(self, two_folders, tmp_path, in_process):
        assert not in_process
        (tmp_path / 'file').touch()
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        with pytest.raises(UserError, match='file cannot be created'):
            list(many.run_scenes(self.model, scenes, SMALL, tmp_path / 'file', workers=2))

    def test_model_that_cannot_be_loaded(self, two_folders, tmp_path, in_process):
        assert not in_process
        scenes = listing.find_scenes(*two_folders, tmp_path / 'out')
        with pytest.raises(UserError, match='the model is broken'):
            list(many.run_scenes(self.broken, scenes, SMALL, tmp_path / 'out', workers=2))
        assert not (tmp_path / 'out').exists()

    @pytest.mark.parametrize(
        ('rows', 'sentence'),
        [
            (
                [('a.tif', 'b.tif', 'q.tif'), ('c.tif', 'd.tif', 'q.tif')],
                r'q\.tif would be a result of two scenes, a\.tif to b\.tif and c\.tif to d\.tif: give',
            ),
            (
                [('a.tif', 'b.tif', 'q.tif'), ('c.tif', 'd.tif', 'q.tiff')],
                r'q_mask\.tif would be a result of two scenes',
            ),
            (
                [('x.tif', 'x2.tif', 'do/x.tif'), ('x_mask.tif', 'x_mask2.tif', './do/x_mask.tif')],
                r'do/x_mask\.tif would be a result of two scenes',
            ),
            (
                [('2019.tif', '2020.tif', '2021.tif'), ('2020.tif', '2021.tif', 'c2.tif')],
                r'2021\.tif, of the scene 2020\.tif to 2021\.tif, would be replaced by a result of the scene 2019\.tif',
            ),
            (
                [('c1_mask.tif', '2020.tif', 'c2.tif'), ('2019.tif', '2020.tif', 'c1.tif')],
                r'c1_mask\.tif, of the scene c1_mask\.tif to 2020\.tif, would be replaced',
            ),
        ],
    )
    def test_results_that_replace_each_other_or_an_input(self, rows, sentence):
        """Refused before the model is loaded."""
        scenes = [listing.Scene(*row) for row in rows]
        with pytest.raises(UserError, match=sentence):
            next(many.run_scenes(self.broken, scenes, SMALL, Path()))
