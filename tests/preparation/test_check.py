"""The command ``hsonet check``: exit codes, what it prints and writes."""

import json
import os
import shutil

import numpy as np
import pytest

pytest.importorskip('rasterio')

from made_up_checks import altered, check, ground, label_of, only, save

from hsonet_mm.cli import run_tool
from hsonet_mm.errors import UserError
from hsonet_mm.preparation.check import check_dataset

pytestmark = pytest.mark.any_host


def test_pipes_are_no_images(data):
    """Whoever opens one waits."""
    os.mkfifo(data / 'train/A/pipe.png')
    assert check_dataset(data, crop=64).findings == []


def test_exit_codes(data, capsys):
    arguments = [str(data), '--crop', '64']
    assert run_tool('check', arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == 'fine'
    assert next(line.split() for line in printed if line.startswith('val'))[:2] == ['val', '3']
    save(data / 'val/label/1.png', np.repeat(label_of(7)[..., None], 3, 2))
    assert run_tool('check', arguments) == 0
    assert run_tool('check', [*arguments, '--strict']) == 1
    assert 'warning: val/label/1.png' in capsys.readouterr().out
    (data / 'val/label/1.png').unlink()
    assert run_tool('check', arguments) == 1
    assert capsys.readouterr().out.splitlines()[-1] == 'problems found'
    assert run_tool('check', [str(data / 'nowhere')]) == 2
    assert 'nowhere: no such folder' in capsys.readouterr().err
    assert run_tool('check', [*arguments, '--pairs', '0']) == 2


def test_many_findings_of_a_kind_are_counted(data, capsys):
    for path in (data / 'train').glob('*/*.png'):
        shutil.copy(path, path.with_stem(f'again{path.stem}'))
    assert run_tool('check', [str(data), '--no-duplicates']) == 1
    printed = capsys.readouterr().out
    assert printed.count('is smaller than the crop of 256') == 10
    assert 'error: 2 more of the kind "crop": --json lists all' in printed


def test_json(data, tmp_path):
    (data / 'val/A/1.png').unlink()
    assert run_tool('check', [str(data), '--crop', '64', '--json', str(tmp_path / 'sub/report.json')]) == 1
    content = json.loads((tmp_path / 'sub/report.json').read_text())
    assert content['failed'] is True
    assert content['layout'] == 'LEVIR-CD'
    assert content['splits']['test']['pairs'] == 3
    assert [(f['level'], f['kind'], f['split']) for f in content['findings']] == [('error', 'missing', 'val')]


def test_coding_is_written_down_where_it_is_certain(data, capsys):
    save(data / 'val/label/1.png', np.where(label_of(4) > 0, 2, 0).astype(np.uint8))
    assert run_tool('check', [str(data), '--crop', '64']) == 1
    assert 'val/label/1.png contains the values 0, 2' in capsys.readouterr().out
    assert not (data / 'labels.json').exists()
    assert run_tool('check', [str(data), '--crop', '64', '--changed-values', '2', '255']) == 0
    changed = sum(int((label_of(seed) > 0).sum()) for seed in range(6))
    written = json.loads((data / 'labels.json').read_text())
    assert written['changed_values'] == [2, 255]
    assert written['unchanged_values'] is None
    assert written['splits']['train'] == {'labels': 6, 'changed': changed, 'labelled': 6 * 128**2}
    assert check(data) == ([], [])  # as declared before
    save(data / 'val/label/1.png', ground(1))
    written = (data / 'labels.json').read_bytes()
    assert check_dataset(data, crop=64, duplicates=False).labels.coding.changed == (2, 255)
    assert (data / 'labels.json').read_bytes() == written


def test_pairs_that_no_list_names_are_told(tmp_path):
    for seed, name in enumerate(('a', 'b', 'c', 'd')):
        for role, image in (('A', ground(seed)), ('B', ground(seed + 50)), ('label', label_of(7))):
            save(tmp_path / role / f'{name}.png', image)
    (tmp_path / 'list').mkdir()
    for split, name in (('train', 'a.png'), ('val', 'b.png'), ('test', 'c.png')):
        (tmp_path / 'list' / f'{split}.txt').write_text(f'{name}\n')
    assert only(tmp_path, 'warning', 'unlisted').startswith('1 pair in no split: d: add')


def test_nothing_readable(tmp_path, capsys):
    for role in ('A', 'B', 'label'):
        save(tmp_path / 'x/train' / role / '0.png', ground(0))
        (tmp_path / 'x/train' / role / '0.png').write_bytes(b'?')
    assert run_tool('check', [str(tmp_path / 'x'), '--contact-sheet', str(tmp_path / 'sheet.png')]) == 1
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('train'))
    assert row == ['train', '1', '-', '-']
    with pytest.raises(UserError, match='no image pairs found'):
        check_dataset(tmp_path / 'x/train/A')


def test_tool(data, tmp_path, run_tool):
    for role, seed in (('A', 4), ('B', 504)):
        save(data / 'test' / role / '2.png', altered(ground(seed), 1, False, 1, 1, 0))
    done = run_tool('tools/check_dataset.py', data, '--crop', '64', '--contact-sheet', tmp_path / 'sheet.png')
    assert done.returncode == 1, done.stderr
    assert '/4.png: shows the same ground as test/' in done.stdout
    assert (tmp_path / 'sheet.png').is_file()
