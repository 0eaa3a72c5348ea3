"""The command line: its help, wrong usage, and errors as one sentence."""

import errno
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from hsonet_mm import cli, mistakes
from hsonet_mm.cli import COMMANDS, main

TOOLS = {
    'train': 'train',
    'test': 'test',
    'predict': 'predict',
    'prepare': 'prepare_dataset',
    'check': 'check_dataset',
    'leaderboard': 'leaderboard',
    'scene': 'scene',
    'view': 'view',
    'calibrate': 'calibrate',
    'export': 'export',
}


@pytest.mark.parametrize('name', TOOLS)
def test_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, '--help'])
    assert end.value.code == 0
    assert re.match(rf'usage: hsonet {name} ', capsys.readouterr().out)


def test_hsonet_lists_its_commands(capsys):
    with pytest.raises(SystemExit) as end:
        main(['--help'])
    assert end.value.code == 0
    stdout = capsys.readouterr().out
    assert all(name in stdout for name in COMMANDS)


@pytest.mark.parametrize('argv', [[], ['fly'], ['train'], ['test', 'config.py']])
def test_wrong_usage(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert 'usage: hsonet' in capsys.readouterr().err


@pytest.mark.parametrize('name', TOOLS.values())
def test_tool_help(name, repo, monkeypatch, capsys):
    tool = str(repo / 'tools' / f'{name}.py')
    monkeypatch.setattr(sys, 'argv', [tool, '--help'])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(tool, run_name='__main__')
    assert end.value.code == 0
    assert f'usage: {name}.py' in capsys.readouterr().out


def test_check_finds_problems(hsonet, tiny_data, tmp_path):
    data = shutil.copytree(tiny_data, tmp_path / 'data')  # the check records how labels are coded
    code, stdout, _ = hsonet('check', data, '--crop', 256)
    assert code == 1
    assert 'train/A/0.png: 64x64 is smaller than the crop of 256' in stdout


@pytest.mark.parametrize(
    ('package', 'install'), [('cv2', 'opencv-python-headless'), ('mmcv', '"hsonet_mm[standalone]"')]
)
def test_missing_package_is_named(monkeypatch, capsys, package, install):
    def missing(_):
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr(cli, 'import_module', missing)
    assert main(['predict']) == 2
    assert capsys.readouterr().err == (
        f'error: hsonet predict needs {package}, which is not installed: pip install {install}\n'
    )


def test_interrupt_is_no_error(monkeypatch, capsys, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', interrupt)
    assert main(['train', str(tmp_path / 'any.py')]) == 130
    assert capsys.readouterr().err == 'Interrupted\n'

    def go_on(_):
        raise KeyboardInterrupt('repeat the command to continue')

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', go_on)
    assert main(['train', str(tmp_path / 'any.py')]) == 130
    assert capsys.readouterr().err == 'Interrupted: repeat the command to continue\n'


def test_our_own_errors_keep_their_trace(monkeypatch, tmp_path):
    def fail(_):
        raise RuntimeError('a defect')

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', fail)
    with pytest.raises(RuntimeError, match='a defect'):
        main(['train', str(tmp_path / 'any.py')])


@pytest.mark.parametrize(
    ('name', 'where'), [('/full/last_checkpoint', ' with /full/last_checkpoint'), (None, '')]
)
def test_a_full_disk_is_a_sentence_wherever_it_is_met(monkeypatch, tmp_path, capsys, name, where):
    def fail(_):
        raise OSError(errno.ENOSPC, 'No space left on device', name)

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', fail)
    assert main(['train', str(tmp_path / 'any.py')]) == 2
    assert f'error: the disk{where} is full (No space left on device): make room' in capsys.readouterr().err


@pytest.mark.parametrize('without_torch', [True, False])
def test_a_file_that_the_system_refuses_is_a_sentence(monkeypatch, tmp_path, capsys, without_torch):
    def fail(_):
        (tmp_path / ('x' * 300)).unlink(missing_ok=True)

    monkeypatch.setattr('hsonet_mm.commands.train.load_config', fail)
    if without_torch:
        monkeypatch.setitem(sys.modules, 'torch', None)
    assert main(['train', str(tmp_path / 'any.py')]) == 2
    said = capsys.readouterr().err
    assert f'error: {tmp_path}/xxx' in said
    assert 'x cannot be used (File name too long): correct its name' in said


@pytest.mark.parametrize(
    ('arguments', 'where'),
    [
        (['', 'after.png', '-o', 'out'], 'behind predict'),
        (['before.png', 'after.png', '-o', ''], 'behind -o'),
        (['before.png', 'after.png', '--out='], '--out'),
    ],
)
def test_an_empty_argument_is_refused(capsys, monkeypatch, tmp_path, arguments, where):
    """As a path it would be the working directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(['predict', *arguments])
    assert error.value.code == 2
    assert f'an argument is empty ({where})' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_process_group_ends_with_its_threads(tmp_path):
    """Also where a cycle holds it, as MMEngine's runner does: a thread that is left aborts an exit now and then."""

    def threads():
        return {path.name for path in Path('/proc/self/task').iterdir()}

    before = threads()
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    of_group = threads() - before
    runner = {'model': DistributedDataParallel(torch.nn.Linear(1, 1))}
    runner['hooks'] = [runner]
    del runner
    assert of_group
    mistakes.leave_process_group()
    assert not of_group & threads()
