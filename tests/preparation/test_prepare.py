"""What ``hsonet prepare`` writes, keeps and replaces, and its command line."""

import hashlib
import json

import pytest
from helpers import interrupt_replacing

pytest.importorskip('rasterio')

from made_up_sources import picture, save, tree

from hsonet_mm.cli import run_tool
from hsonet_mm.errors import UserError
from hsonet_mm.preparation.prepare import PrepareOptions, prepare_dataset

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize(
    'options',
    [
        {'tile': 0},
        {'stride': -1},
        {'tile': 64, 'block': 32},
        {'val': 0.5, 'test': 0.5},
        {'val': -0.1},
        {'max_empty': 1.1},
        {'border': 'mirror'},
        {'folders': ('A', 'B')},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(UserError, match=r': (expected|give)'):
        PrepareOptions(**options)


# ---- output --------------------------------------------------------------------------------------------
def test_output_is_the_same_bytes_every_time_and_the_manifest_tells_them(tmp_path, scenes):
    manifest = prepare_dataset(scenes, tmp_path / 'one', PrepareOptions(32))
    prepare_dataset(scenes, tmp_path / 'two', PrepareOptions(32))
    files = tree(tmp_path / 'one')
    assert files == tree(tmp_path / 'two')
    assert json.loads(files.pop('manifest.json')) == json.loads(json.dumps(manifest))
    assert json.loads(files.pop('labels.json'))['changed_values'] == [255]
    sums = {
        f'{tile["split"]}/{role}/{tile["name"]}': value
        for tile in manifest['files']
        for role, value in tile['sha256'].items()
    }
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert manifest['parameters']['tile'] == manifest['parameters']['stride'] == 32
    assert manifest['hsonet_mm']


@pytest.mark.parametrize(
    ('options', 'warning'),
    [
        ({'stride': 40}, '--stride 40 is larger than --tile 32: pixels between tiles are lost'),
        ({'stride': 16}, 'tiles overlap in val and test too'),
        ({'border': 'drop'}, '--border drop: pixels'),
    ],
)
def test_warnings(tmp_path, official, options, warning):
    told = prepare_dataset(official, tmp_path / 'out', PrepareOptions(32, **options))['warnings']
    assert len(told) == 1
    assert told[0].startswith(warning)


def test_existing_output_is_kept_unless_told_otherwise(tmp_path, scenes, official):
    out = tmp_path / 'out'
    out.mkdir()
    prepare_dataset(scenes, out, PrepareOptions(64))  # an empty folder is no loss
    before = tree(out)
    with pytest.raises(UserError, match='exists already'):
        prepare_dataset(official, out, PrepareOptions(64))
    (official / 'val/A/val_3.png').write_bytes(b'broken')
    with pytest.raises(UserError, match='cannot be read'):
        prepare_dataset(official, out, PrepareOptions(64), overwrite=True)
    assert tree(out) == before
    save(official / 'val/A/val_3.png', picture(3))
    prepare_dataset(official, out, PrepareOptions(64), overwrite=True)
    assert sorted(p.name for p in (out / 'train/A').iterdir()) == [
        'train_0.png',
        'train_1.png',
        'train_2.png',
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ['official', 'out', 'scenes']


def test_link_as_output_stays_one(tmp_path, scenes):
    (tmp_path / 'disk/large').mkdir(parents=True)
    (tmp_path / 'out').symlink_to(tmp_path / 'disk/large')
    prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    assert (tmp_path / 'out').is_symlink()
    assert (tmp_path / 'disk/large/manifest.json').is_file()
    assert [path.name for path in (tmp_path / 'disk').iterdir()] == ['large']


def test_folder_one_is_in_is_refused_before_any_work(tmp_path, scenes, monkeypatch):
    (tmp_path / 'out').mkdir()
    monkeypatch.chdir(tmp_path / 'out')
    with pytest.raises(UserError, match=r'^\.: cannot be replaced while it is in use: name .* as data$'):
        prepare_dataset(scenes, '.', PrepareOptions(64))
    assert list((tmp_path / 'out').iterdir()) == []


def test_overwrite_never_removes_what_the_tool_did_not_make(tmp_path, scenes):
    (tmp_path / 'precious').mkdir()
    (tmp_path / 'precious/thesis.txt').write_text('all of it')
    with pytest.raises(UserError, match='was not made by this tool'):
        prepare_dataset(scenes, tmp_path / 'precious', PrepareOptions(64), overwrite=True)
    for out in (scenes, scenes / 'out', tmp_path):
        with pytest.raises(UserError, match='lies inside the source or around it'):
            prepare_dataset(scenes, out, PrepareOptions(64), overwrite=True)
    assert (tmp_path / 'precious/thesis.txt').read_text() == 'all of it'


def test_interrupt_while_a_result_is_replaced_loses_none(tmp_path, scenes, monkeypatch):
    prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    before = tree(tmp_path / 'out')
    interrupt_replacing(monkeypatch, 'new')
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(32), overwrite=True)
    assert tree(tmp_path / 'out') == before
    assert {path.name for path in tmp_path.iterdir()} == {'out', 'scenes'}


@pytest.mark.parametrize('name', ['out.old', 'out.partial'])
def test_folders_of_any_name_are_safe(tmp_path, scenes, name):
    """The source too: whoever has renamed an earlier result may cut it again."""
    scenes.rename(tmp_path / name)
    before = tree(tmp_path / name)
    for _ in range(2):
        prepare_dataset(tmp_path / name, tmp_path / 'out', PrepareOptions(64), overwrite=True)
    assert tree(tmp_path / name) == before
    assert {path.name for path in tmp_path.iterdir()} == {'out', name}


# ---- command line --------------------------------------------------------------------------------------
def test_main_reports_and_passes_every_option(tmp_path, scenes, capsys):
    arguments = '--tile 16 --stride 20 --border drop --block 32 --val .2 --test .3 --seed 4 --max-empty .5'
    folders = '--changed-values 255 --a A --b B --label label'
    assert (
        run_tool('prepare', [str(scenes), str(tmp_path / 'out'), *arguments.split(), *folders.split()]) == 0
    )
    manifest = json.loads((tmp_path / 'out/manifest.json').read_text())
    assert manifest['parameters'] == {
        'tile': 16, 'stride': 20, 'border': 'drop', 'block': 32, 'val': 0.2, 'test': 0.3, 'seed': 4,
        'max_empty': 0.5, 'changed_values': [255], 'ignored_values': [],
        'folders': ['A', 'B', 'label'], 'split_file': False,
        'reading': {'bands': None, 'stretch': None, 'nodata': None},
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert 'warning: --stride 20' in printed
    assert run_tool('prepare', [str(scenes), str(tmp_path / 'out')]) == 2
    assert 'error:' in capsys.readouterr().err


def test_progress_bar_on_a_terminal(tmp_path, scenes, monkeypatch, capsys):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    prepare_dataset(scenes, tmp_path / 'out', PrepareOptions(64))
    assert 'cutting' in capsys.readouterr().err


def test_tool(tmp_path, official, run_tool):
    done = run_tool('tools/prepare_dataset.py', official, tmp_path / 'out', '--tile', '32')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert 'layout LEVIR-CD, tiles of 32' in lines
    row = next(line.split() for line in lines if line.startswith('train'))
    assert row == ['train', '3', '12', '3.52%', '75.0%']
    assert lines[-1].startswith(f'written to {tmp_path / "out"}')
