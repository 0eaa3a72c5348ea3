"""Overviews of many scenes."""

import argparse
import json
import re
import shutil
from urllib.parse import unquote

import pytest

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_view import FAKE, make_scene, run

from hsonet_mm.commands import scene as scene_command
from hsonet_mm.errors import UserError
from hsonet_mm.scenes.model import ModelSpec
from hsonet_mm.viewer.report import find_results, view_scenes

pytestmark = pytest.mark.any_host


class TestReport:
    def test_table(self, tmp_path, capsys):
        results = tmp_path / 'results'
        for name in ('north', 'south & <east>'):
            make_scene(results / name, 90, 120, ((5, 5, 20, 20, 255),), hole=False)
        broken = make_scene(results / 'broken', 90, 120, ((5, 5, 20, 20, 255),), hole=False)
        broken.with_name('after.tif').unlink()
        assert run(results) == 1
        out, error = capsys.readouterr()
        assert '2 of 3 scenes' in out
        assert 'broken/change.tif: no view: ' in error
        folder = tmp_path / 'results_view'
        text = (folder / 'index.html').read_text()
        assert len(re.findall(r'<tr( class="failed")?><th scope="row">', text)) == 3
        assert 'no longer exists' in text
        assert '<east>' not in text
        summary = json.loads((results / 'north' / 'change.json').read_text())
        assert (
            f'<td class="figure" data-value="{summary["changed_share"]}">{summary["changed_share"]:.2%}</td>'
            in text
        )
        links = re.findall(r'(?:href|src)="([^"]+)"', text)
        links = [link for link in links if not link.startswith('data:')]
        assert len(links) == 2 * (1 + 2 * 3)
        assert all((folder / unquote(link)).is_file() for link in links)
        assert run(results) == 1
        assert capsys.readouterr().out.count('is up to date') == 2

    def test_equal_names_and_other_folders(self, tmp_path, small):
        other = make_scene(tmp_path / 'other', 90, 120, ((5, 5, 20, 20, 255),), hole=False)
        out = tmp_path / 'report'
        rows = list(view_scenes([small, other], tmp_path / 'nowhere', out))
        assert [row.view.folder.name for row in rows] == ['change', 'change-2']
        (tmp_path / 'mine').mkdir()
        (tmp_path / 'mine' / 'file').touch()
        with pytest.raises(UserError, match='is not a report'):
            list(view_scenes([small], tmp_path, tmp_path / 'mine'))
        assert find_results(tmp_path) == sorted([small, other])

    def test_names_in_capitals_and_a_relative_folder(self, small, tmp_path, monkeypatch, capsys):
        small.rename(small.with_name('change.TIF'))
        monkeypatch.chdir(tmp_path)
        assert run(small.parent, '-o', 'pages') == 0
        assert '1 of 1 scenes' in capsys.readouterr().out
        assert 'href="change/index.html"' in (tmp_path / 'pages' / 'index.html').read_text()


class TestSceneCommand:
    @pytest.fixture
    def scene_run(self, monkeypatch):
        monkeypatch.setattr(ModelSpec, 'load', lambda _: FAKE)

        def call(*arguments):
            parser = argparse.ArgumentParser()
            scene_command.add_arguments(parser)
            return scene_command.run(parser.parse_args(['m.onnx', *map(str, arguments)]))

        return call

    def test_view_of_one_and_of_many(self, small, tmp_path, scene_run, monkeypatch, capsys):
        monkeypatch.setattr('hsonet_mm.scenes.record.file_state', lambda _: (0, 0))  # of the model
        folder = small.parent
        out = tmp_path / 'one.tif'
        options = ('--tile', 128, '--overlap', 32, '--view')
        assert scene_run(folder / 'before.tif', folder / 'after.tif', '-o', out, *options) == 0
        assert (tmp_path / 'one_view' / 'index.html').is_file()
        assert str(tmp_path / 'one_view' / 'index.html') in capsys.readouterr().out
        for name in 'ab':
            (tmp_path / name).mkdir()
            shutil.copy(folder / ('before.tif' if name == 'a' else 'after.tif'), tmp_path / name / 'x.tif')
        assert scene_run(tmp_path / 'a', tmp_path / 'b', '-o', tmp_path / 'many', *options) == 0
        assert (tmp_path / 'many_view' / 'index.html').is_file()
        assert (tmp_path / 'many_view' / 'x' / 'index.html').is_file()
