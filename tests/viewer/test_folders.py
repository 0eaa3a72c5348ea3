"""Folders that are replaced whole or not at all."""

import errno
import os
import re
from pathlib import Path

import pytest
from helpers import interrupt_replacing

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_view import run

from hsonet_mm.viewer.folders import replaced_folder
from hsonet_mm.viewer.page import view_scene

pytestmark = pytest.mark.any_host


class TestFolders:
    def test_up_to_date_and_replaced(self, small, capsys):
        assert run(small) == 0
        folder = small.with_name('change_view')
        assert f'{folder / "index.html"} written' in capsys.readouterr().out
        (folder / 'note').touch()
        assert run(small) == 0
        assert 'is up to date' in capsys.readouterr().out
        os.utime(small)
        leftover = small.with_name('.change_view.part')  # of a run that was killed
        (leftover / 'tiles').mkdir(parents=True)
        assert run(small) == 0
        assert not (folder / 'note').exists()
        assert sorted(path.name for path in small.parent.iterdir() if 'view' in path.name) == ['change_view']

    def test_other_folders_are_left_alone(self, small, tmp_path, capsys):
        (tmp_path / 'mine').mkdir()
        (tmp_path / 'mine' / 'file').touch()
        for target in (tmp_path / 'mine', small):
            assert run(small, '-o', target) == 2
            assert 'is not a view' in capsys.readouterr().err
        assert (tmp_path / 'mine' / 'file').is_file()
        (tmp_path / 'empty').mkdir()
        assert run(small, '-o', tmp_path / 'empty') == 0
        assert (tmp_path / 'empty' / 'index.html').is_file()

    def test_the_folder_one_is_in(self, small, tmp_path, monkeypatch, capsys):
        (tmp_path / 'empty').mkdir()
        monkeypatch.chdir(tmp_path / 'empty')
        assert run(small, '-o', '.') == 0
        assert f'{tmp_path / "empty" / "index.html"} written' in capsys.readouterr().out
        assert (tmp_path / 'empty' / 'index.html').is_file()

    @pytest.mark.parametrize('when', ['write_bytes', 'write_text', 'replace'])
    def test_full_disk_leaves_the_old_view(self, small, monkeypatch, capsys, when):
        folder = view_scene(small).folder
        os.utime(small)
        before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
        real = getattr(Path, when)

        def full(self, *args, **kwargs):
            if '.change_view.part' in str(self):
                raise OSError(errno.ENOSPC, 'No space left on device')
            return real(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(Path, when, full)
            assert run(small) == 2
        assert re.fullmatch(
            r'error: .*change_view cannot be written \(No space.*-o\n', capsys.readouterr().err
        )
        assert {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()} == before
        assert not list(small.parent.glob('.change_view*'))

    def test_interrupt_while_a_view_is_replaced_loses_none(self, small, monkeypatch, tmp_path):
        view_scene(small, tmp_path / 'v')
        os.utime(small)
        before = (tmp_path / 'v/index.html').read_text()
        interrupt_replacing(monkeypatch, '.v.part')
        with pytest.raises(KeyboardInterrupt):
            view_scene(small, tmp_path / 'v')
        assert (tmp_path / 'v/index.html').read_text() == before
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith('.v')] == []

    def test_parent_is_made(self, tmp_path):
        with replaced_folder(tmp_path / 'a' / 'b') as part:
            (part / 'file').touch()
            assert not (tmp_path / 'a' / 'b').exists()
        assert (tmp_path / 'a' / 'b' / 'file').is_file()
