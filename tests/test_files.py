"""Writing files as a whole or not at all."""

import errno
import json
import multiprocessing
import os
from pathlib import Path

import pytest

from hsonet_mm.errors import UserError
from hsonet_mm.files import (
    folder_beside,
    made_folder,
    require_writable,
    write_bytes,
    write_files,
    write_json,
    write_text,
)

pytestmark = pytest.mark.any_host


def test_content_and_folder(tmp_path):
    target = tmp_path / 'new/folder/file'
    write_bytes(target, b'\x00\xff')
    assert target.read_bytes() == b'\x00\xff'
    write_text(target, 'Zürich\n')  # replaces
    assert target.read_bytes() == b'Z\xc3\xbcrich\n'
    write_json(target, {'a': [1, 2.5, None]})
    assert json.loads(target.read_text()) == {'a': [1, 2.5, None]}
    assert target.read_text().startswith('{\n "a": [\n')
    assert target.read_text().endswith('}\n')
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize('make', [made_folder, folder_beside])
def test_folders_in_which_nothing_was_written_are_gone(tmp_path, make):
    (tmp_path / 'mine').mkdir()
    with make(tmp_path / 'mine/new/deep/out'):
        assert (tmp_path / 'mine/new/deep').is_dir()
    assert list((tmp_path / 'mine').iterdir()) == []
    with make(tmp_path / 'mine/new/deep/out'):
        (tmp_path / 'mine/new/other').write_text('kept')
    assert list((tmp_path / 'mine').rglob('*')) == [tmp_path / 'mine/new', tmp_path / 'mine/new/other']


@pytest.mark.parametrize('make', [made_folder, folder_beside])
def test_folders_whose_names_are_too_long(tmp_path, make):
    with (
        pytest.raises(UserError, match=r'cannot be created \(File name too long\)'),
        make(tmp_path / ('x' * 999) / 'y'),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def keep(folder, made, stop, results):
    """Another process that makes a folder, and later writes into it."""
    with made_folder(folder):
        made.set()
        stop.wait(20)
        try:
            (folder / 'file').write_text('kept')
            results.put(None)
        except OSError as error:
            results.put(str(error))


def test_a_folder_that_another_process_uses_stays(tmp_path):
    """The one that made it ends without a file while the other is about to write."""
    processes = multiprocessing.get_context('fork')
    made, stop, results = processes.Event(), processes.Event(), processes.Queue()
    with made_folder(tmp_path / 'new/out'):
        other = processes.Process(target=keep, args=(tmp_path / 'new/out', made, stop, results))
        other.start()
        assert made.wait(20)
    assert (tmp_path / 'new/out').is_dir()
    stop.set()
    assert results.get(timeout=20) is None
    other.join()


def fail_again_and_again(folder, times):
    for _ in range(times):
        with made_folder(folder):
            pass


@pytest.mark.parametrize('make', [made_folder, folder_beside])
def test_folders_that_come_and_go(tmp_path, make):
    """Whoever is in the folder can write, however often others remove it."""
    processes = multiprocessing.get_context('fork')
    folder = tmp_path / 'new/out'
    others = [processes.Process(target=fail_again_and_again, args=(folder, 500)) for _ in range(2)]
    for other in others:
        other.start()
    for number in range(300):
        with make(folder / 'x' if make is folder_beside else folder):
            (folder / f'{number}').write_text('')
            (folder / f'{number}').unlink()
    for other in others:
        other.join()
        assert other.exitcode == 0


def test_others_may_read_what_the_umask_grants(tmp_path):
    previous = os.umask(0o022)
    try:
        write_bytes(tmp_path / 'file', b'')
    finally:
        os.umask(previous)
    assert (tmp_path / 'file').stat().st_mode & 0o777 == 0o644


def test_what_can_be_written_is_known_before(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('old')
    before = sorted(tmp_path.rglob('*'))
    require_writable(None, tmp_path / 'file', tmp_path / 'new/folder/file')
    for name, sentence in (
        ('folder', r'folder cannot be written \(it is a folder\): name a file'),
        ('file/x', r'the folder .*file cannot be created \(File exists\)'),
        ('x' * 300, r'x cannot be written \(File name too long\)'),
    ):
        with pytest.raises(UserError, match=sentence):
            require_writable(tmp_path / name)
    assert sorted(tmp_path.rglob('*')) == before
    assert (tmp_path / 'file').read_text() == 'old'


def fail_half_way(monkeypatch, failure):
    def write(self, data):
        with self.open('wb') as file:
            file.write(data[:3])
        raise failure

    monkeypatch.setattr(Path, 'write_bytes', write)


@pytest.mark.parametrize(
    ('failure', 'reason'),
    [
        (OSError(errno.ENOSPC, 'No space left on device'), 'No space left on device'),
        (OSError(errno.EROFS, 'Read-only file system'), 'Read-only file system'),
        (OSError('the disk is gone'), 'the disk is gone'),
    ],
    ids=str,
)
def test_failure_is_one_sentence_and_leaves_the_old_file(tmp_path, monkeypatch, failure, reason):
    target = tmp_path / 'file.json'
    target.write_text('old')
    fail_half_way(monkeypatch, failure)
    with pytest.raises(UserError) as told:
        write_json(target, {'new': 1})
    room = '' if reason == 'Read-only file system' else 'make room for it, or '
    assert str(told.value) == f'{target} cannot be written ({reason}): {room}name another place'
    assert target.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [target]


def test_without_permission(tmp_path, monkeypatch):
    target = tmp_path / 'file'
    fail_half_way(monkeypatch, PermissionError(errno.EACCES, 'Permission denied'))
    sentence = f'no permission to write {target}: correct its permissions, or give another place'
    with pytest.raises(UserError, match=f'^{sentence}$'):
        write_bytes(target, b'new')


@pytest.mark.parametrize('last', ['too large', 'folder'])
def test_all_files_or_none(tmp_path, monkeypatch, last):
    names = [tmp_path / name for name in 'abc']
    write_files(dict.fromkeys(names, b'old'))
    contents = dict.fromkeys(names, b'new')
    if last == 'folder':
        contents[tmp_path / 'd'] = b'new'
        (tmp_path / 'd').mkdir()
    else:
        contents[names[2]] = b'larger'
        write = Path.write_bytes

        def limited(self, data):
            if len(data) > 3:
                raise OSError(errno.EFBIG, 'File too large')
            return write(self, data)

        monkeypatch.setattr(Path, 'write_bytes', limited)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=f'{max(contents)} cannot be written'):
        write_files(contents)
    assert [path.read_bytes() for path in names] == [b'old'] * 3
    assert sorted(tmp_path.iterdir()) == before


def test_interruption_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / 'file'
    target.write_bytes(b'old')
    fail_half_way(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_bytes(target, b'new content')
    assert target.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [target]


def test_what_cannot_be_expressed_leaves_the_old_file(tmp_path):
    target = tmp_path / 'file.json'
    target.write_text('old')
    with pytest.raises(TypeError):
        write_json(target, {'set': {1}})
    assert target.read_text() == 'old'


def test_places_that_cannot_hold_a_file(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    for target in (tmp_path / 'folder', tmp_path / 'file/below', Path(), Path('/')):
        with pytest.raises(UserError, match=f'^{target} cannot be written'):
            write_bytes(target, b'')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['file', 'folder']
    assert not any((tmp_path / 'folder').iterdir())
