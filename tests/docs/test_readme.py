"""Every command and every piece of Python in the blocks of README.md and docs/, run as it is written there.

A block of YAML is a file, whose name stands in its first line; a block of text is what a command prints; references and
equations are not run.

What a test cannot have stands in three tables, each entry with its reason; what is in none of them is run. A command
that is added to a document is therefore run by the next test, or the test is red.
"""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from glob import glob
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from mmengine.config import Config

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')
pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
pytest.importorskip('matplotlib')
pytest.importorskip('pandas')
pytest.importorskip('pydantic')

import rasterio
from rasterio.transform import from_origin

from hsonet_mm import cli
from hsonet_mm.demo.generate import generate
from hsonet_mm.engine.trackers import TRACKERS
from hsonet_mm.images import read_pixels

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')), ROOT / 'docs/leaderboards/README.md']

TWO_ITERATIONS = (
    'train_cfg.max_iters=2 train_cfg.val_interval=2 train_dataloader.batch_size=2 train_dataloader.num_workers=1 '
    'default_hooks.checkpoint.interval=2 default_hooks.logger.interval=1'
)

# (what a command is found by, why it is not run)
NOT_RUN = [
    (r'^pip install ', 'installs packages; `make test` does so before every test'),
    (r'^make ', 'installs packages, and runs these tests; commands/test_demo.py runs the demo'),
    (r'^(rm -rf dist && python -m build|/tmp/fresh/bin/pip|\(cd /tmp) ', 'builds and installs the packages'),
    (r'^torchrun ', 'engine/test_training.py trains in two processes'),
    (r'^git clone ', 'downloads Open-CD'),
    (
        r'leaderboard/published\.yaml',
        "needs its authors' weights; leaderboard/test_run.py scores published weights",
    ),
    (r'^python3 -m venv ', 'an environment of its own; that of `make test-opencd` is made so'),
    (
        r'^python -c "import hsonet_mm; import opencd',
        'needs Open-CD; opencd/test_real_opencd.py imports both',
    ),
    (
        r'^import hsonet_mm.*\nfrom opencd',
        'needs Open-CD; opencd/test_real_opencd.py predicts with its inferencer',
    ),
    (
        r'^python (-m hsonet_mm\.opencd )?open-cd/',
        "Open-CD's own tools; opencd/test_real_opencd.py runs them",
    ),
    (r'^PYTHONPATH=/path/to/open-cd ', 'needs Open-CD; these are the tests of opencd/test_real_opencd.py'),
    (r'^OPENCD_ROOT=/path/to/open-cd ', 'needs the configs of Open-CD; opencd/test_configs.py trains them'),
    (
        r'^hsonet export .*--int8',
        'a network of two iterations is not fit for 8 bits; export/test_quantize.py',
    ),
    (
        r'^python tools/benchmark\.py (training|losses|inference|scene|startup)',
        'minutes; test_benchmark*.py run small ones',
    ),
    (r'^hsonet prepare xview2/', 'needs files named as those of xView2; test_index.py reads such'),
    (
        r'^hsonet prepare .* changes\.gpkg',
        'needs polygons; preparation/test_polygons.py writes and burns them',
    ),
    (r'^dataset=dict\(', 'a part of a config; preparation/test_label_files.py builds such data sets'),
    (r'^python tools/(pack|score)_model\.py', 'writes into the package; pretrained/test_pretrained.py'),
    (
        r'^hsonet explain configs/hsonet_lite_demo',
        'names the best of 300 iterations; explain/test_explain.py explains pairs',
    ),
    (
        r'^hsonet explain configs/hsonet_levir\.py',
        'needs two trained networks; explain/test_explain.py compares such',
    ),
    (r'^for part in "levir_512', 'the building sets may not be passed on'),
    (r'^for kind in A B label', 'adds scenes to these sets'),
    (r'^hsonet train configs/hsonet_lite_buildings', 'needs these sets; test_configs.py trains the network'),
    (
        r'^python tools/model_size\.py configs/baselines',
        'commands/test_model_size.py measures all of them',
    ),
    (r'^probs = torch\.export\.load', 'export/test_formats.py loads and runs such a program'),
    (r'^gdal ', 'the command line of GDAL 3.11, which is no part of rasterio'),
    (r'^_base_ = ', 'inherits a config of Open-CD; opencd/test_real_opencd.py does so'),
    (
        r'^model = dict\(decode_head=',
        'a line for a config of Open-CD; opencd/test_real_opencd.py trains with both losses',
    ),
    (
        r'^neck=dict\(',
        'a part of a config of Open-CD; models/test_vfpn.py and opencd/test_real_opencd.py build such heads',
    ),
    (
        r'^from mmengine.config import read_base',
        'needs an installed package; test_configs.py reads this text',
    ),
]

# (what is replaced, by what, why)
REPLACED = [
    (r'=/data/', '=data/', 'data sets lie in the sandbox'),
    (r'--init-from best_changed_f1_iter_\d+', '--init-from best', 'the checkpoint of the sandbox'),
    (r'elsewhere/iter_800', 'made/iter_2', 'the checkpoint of the training of the sandbox'),
    (r'best_changed_f1_iter_\d+', 'best_changed_f1_iter_2', 'two iterations instead of thousands'),
    (
        r' configs/hsonet_r50_levir\.py +configs/hsonet_pvt.*',
        '',
        'commands/test_model_size.py measures the larger ones',
    ),
    (r'--pairs 420 1 1', '--pairs 4 1 1', 'four scenes instead of hundreds'),
    (r'--iters 1000\b', '--iters 2', 'two iterations instead of a thousand'),
    (r'hsonet demo --iters 300', 'hsonet demo', 'its data, like the other demo'),
    (r'--iters 300 --snapshots 5', '--iters 2 --snapshots 2', 'two iterations instead of hundreds'),
    (
        r'^--cfg-options ',
        'hsonet test configs/hsonet_lite_levir.py best.pth --cfg-options ',
        'options to add to a test',
    ),
]

# (what a command is found by, what is added to its end, why)
APPENDED = [
    (
        r'train\.py configs/hsonet_levir\.py',
        f'--cfg-options {TWO_ITERATIONS} train_dataloader.dataset.pipeline.3.crop_size=64 '
        'model.backbone.init_cfg=None default_hooks.checkpoint.save_optimizer=False',
        'two iterations on small crops, small files; the ImageNet weights of ResNet are a download',
    ),
    (r'^hsonet train (?!.*(--iters|--resume))', '--iters 2', 'two iterations'),
    (r'^hsonet train .*--resume', '--iters 4', 'two iterations more'),
    (
        r'^hsonet train configs/hsonet_lite_levir\.py',
        '--validations 1 --cfg-options train_dataloader.batch_size=2 train_dataloader.num_workers=1 '
        'train_dataloader.dataset.pipeline.3.crop_size=64',
        'small crops, and the checkpoint that the next commands name',
    ),
    (
        r'^hsonet train configs/hsonet_lite_demo\.py .*--snapshots',
        '--cfg-options train_dataloader.batch_size=2 train_dataloader.num_workers=1 '
        'train_dataloader.dataset.pipeline.2.crop_size=64',
        'small crops',
    ),
    (r'^hsonet explain .*--features', '--samples 20', 'few pixels'),
    (r'^hsonet demo(?! --data-only)', '--data-only', 'commands/test_demo.py trains and predicts'),
    (r'^hsonet demo', '--pairs 4 2 2', 'few pairs'),
    (
        r'^hsonet leaderboard configs/leaderboard/demo\.yaml',
        '--methods fc_ef --seeds 0 --dry-run',
        'minutes a run; `make leaderboard-smoke` runs two methods',
    ),
    (r'leaderboard configs/leaderboard/one_date\.yaml', '--dry-run', 'minutes a run'),
]

MY_DATA = ('data/mine', 'data/LEVIR-CD')
"""A data set of the reader's own in a YAML file, and the one of the sandbox."""


class Snippet(NamedTuple):
    """A fenced block of a document."""

    document: str
    section: str
    line: int
    language: str
    text: str


class Command(NamedTuple):
    """A command of a shell block, or a Python block as a whole."""

    place: str
    text: str


def name_of(path):
    return str(path.relative_to(ROOT))


def snippets(path):
    section, found, lines = '', [], iter(enumerate(path.read_text(encoding='utf-8').splitlines(), 1))
    for number, line in lines:
        if line.startswith('#'):
            section = line.lstrip('# ')
        elif fence := re.fullmatch(r'( *)```(\w*)', line):
            body = []
            for _, inner in lines:
                if inner.strip() == '```':
                    break
                body.append(inner.removeprefix(fence[1]))
            found.append(Snippet(name_of(path), section, number + 1, fence[2], '\n'.join(body)))
    return found


def commands(snippet):
    """The commands of a block of shell, each on a line; or all of a block of Python."""
    if snippet.language in ('yaml', 'text', 'bibtex', 'math'):
        return []
    if snippet.language == 'python':
        return [Command(f'{snippet.document}:{snippet.line}', snippet.text)]
    found, pending, start = [], '', snippet.line
    for number, line in enumerate(snippet.text.splitlines(), snippet.line):
        start = start if pending else number
        pending += line
        if pending.endswith('\\'):
            pending = pending[:-1] + ' '
        elif pending.strip():
            found.append(Command(f'{snippet.document}:{start}', pending.strip()))
            pending = ''
    assert not pending.strip(), f'{snippet.document}:{start} goes on after its end'
    return found


SNIPPETS = [snippet for path in DOCUMENTS for snippet in snippets(path)]
COMMANDS = [command.text for snippet in SNIPPETS for command in commands(snippet)]
SECTIONS = {}
for one in SNIPPETS:
    SECTIONS.setdefault(f'{one.document}, {one.section}', []).append(one)


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory, repo):
    """A folder like the checkout of somebody who trained a model and has data, but all of it small."""
    folder = tmp_path_factory.mktemp('checkout')
    for name in ('configs', 'tools', 'docs/leaderboards/ablations'):
        shutil.copytree(repo / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    data = folder / 'data/LEVIR-CD'
    generate(data, train=4, val=2, test=2, size=256, seed=3)
    (folder / 'data/levir_512').symlink_to(data)
    for part in ('A', 'B', 'label'):
        (folder / 'scenes' / part).mkdir(parents=True)
        for path in data.glob(f'*/{part}/*'):
            shutil.copy(path, folder / 'scenes' / part / f'{path.parts[-3]}_{path.name}')
    (folder / 'LEVIR-CD-256/list').mkdir(parents=True)  # one folder a date, and lists of the splits
    for part in ('A', 'B', 'label'):
        (folder / 'LEVIR-CD-256' / part).symlink_to(folder / 'scenes' / part)
    for split in ('train', 'val', 'test'):
        names = sorted(path.name for path in (folder / 'scenes/A').glob(f'{split}_*'))
        (folder / f'LEVIR-CD-256/list/{split}.txt').write_text('\n'.join(names))
    for date, name in (('A', 'before'), ('B', 'after')):
        first = min((data / 'test' / date).iterdir())
        shutil.copy(first, folder / f'{name}.png')
        image = np.tile(read_pixels(str(first)).values, (2, 3, 1))[:, :600].transpose(2, 0, 1)
        profile = {
            'driver': 'GTiff', 'count': 3, 'height': 512, 'width': 600, 'dtype': 'uint8',
            'crs': 'EPSG:32633', 'transform': from_origin(500_000, 5_000_000, 0.5, 0.5),
        }  # fmt: skip
        with rasterio.open(folder / f'{name}.tif', 'w', **profile) as raster:
            raster.write(image)
        (folder / name).mkdir()
        shutil.copy(folder / f'{name}.tif', folder / name / 'site.tif')
    (folder / 'scenes.csv').write_text('before,after,output\nbefore.tif,after.tif,listed.tif\n')
    return folder


@pytest.fixture(scope='module')
def trained(sandbox, tiny_checkpoint):
    """The sandbox where HSONet-lite is the tiny network, with ``best.pth``, trained for two iterations."""
    config, checkpoint = tiny_checkpoint
    model = Config.fromfile(config).model.to_dict()
    (sandbox / 'configs/_base_/hsonet_lite.py').write_text(f'model = {model!r}\n')
    shutil.copy(checkpoint, sandbox / 'best.pth')
    (sandbox / 'made').mkdir()
    shutil.copy(checkpoint.with_name('iter_2.pth'), sandbox / 'made')
    return sandbox


@pytest.fixture(scope='module')
def done():
    """Commands that were run; what stands in several documents is run once."""
    return set()


@pytest.fixture
def shell(trained, done, untraced, hsonet, forget_runs, tool_env, monkeypatch, capsys):
    """A function that runs a command in the sandbox, in this process; a failure says which and why."""
    del untraced  # best.pth has the weights of what is exported for other tests
    monkeypatch.chdir(trained)
    monkeypatch.setenv('PYTHONPATH', tool_env['PYTHONPATH'])

    def script(path, *args):
        forget_runs()
        monkeypatch.setattr(sys, 'argv', [path, *args])
        capsys.readouterr()
        try:
            runpy.run_path(path, run_name='__main__')
            code = 0
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    def run(place, text):
        program, *words = shlex.split(os.path.expandvars(text), comments=True)
        args = [found for word in words for found in sorted(glob(word)) or [word]]  # noqa: PTH207 (most are no paths)
        if program == 'export':
            for assignment in args:
                monkeypatch.setenv(*assignment.split('=', 1))
            return
        if text in done:
            return
        done.add(text)
        if program == 'cp':
            subprocess.run(text, shell=True, check=True)
            return
        if program == 'hsonet':
            code, stdout, stderr = hsonet(*args)
        elif program == 'python' and args[0].startswith('tools/'):
            code, stdout, stderr = script(*args)
        else:
            pytest.fail(f'{place}: `{text}` is no command that this test can run: give NOT_RUN the reason')
        assert code == 0, f'{place}: `{text}` ended with {code}\n{stdout[-2000:]}\n{stderr[-2000:]}'
        for option, value in pairwise(args):
            if option in ('-o', '--out', '--contact-sheet', '--work-dir') and '--dry-run' not in args:
                assert Path(value).exists(), f'{place}: `{text}` left no {value}'

    return run


def adapted(text):
    """A command as it can be run here, or nothing."""
    if any(re.search(pattern, text) for pattern, _ in NOT_RUN):
        return ''
    text = re.sub(r'\s+#.*$', '', text) if '\n' not in text else text
    for pattern, new, _ in REPLACED:
        text = re.sub(pattern, new, text)
    for pattern, more, _ in APPENDED:
        if re.search(pattern, text):
            text = f'{text} {more}'
    return text


def test_documents_hold_commands():
    assert {path.stem for path in DOCUMENTS[1:]} >= {'leaderboard', 'onnx', 'opencd', 'results', 'sizes'}
    assert {snippet.language for snippet in SNIPPETS} == {'shell', 'python', 'yaml', 'text', 'bibtex', 'math'}
    assert sum(bool(adapted(text)) for text in COMMANDS) >= 20


@pytest.mark.parametrize('entry', [*NOT_RUN, *REPLACED, *APPENDED], ids=lambda entry: entry[0])
def test_every_exception_is_needed(entry):
    assert any(re.search(entry[0], text) for text in COMMANDS)


@pytest.mark.parametrize('section', SECTIONS)
def test_commands_of(section, shell, trained):
    for snippet in SECTIONS[section]:
        if snippet.language == 'yaml':
            name = snippet.text.splitlines()[0].removeprefix('# ')
            (trained / name).write_text(snippet.text.replace(*MY_DATA))
        for place, text in commands(snippet):
            if not (adapted_text := adapted(text)):
                continue
            if snippet.language == 'shell':
                shell(place, adapted_text)
            else:
                run_python(place, adapted_text, shell)


def run_python(place, text, shell):
    """Execute Python with what its text takes for granted."""
    given = {
        'batch_t1': np.zeros((2, 64, 96, 3), np.uint8),
        'batch_t2': np.ones((2, 64, 96, 3), np.uint8),
    }
    if "'model.onnx'" in text and not Path('model.onnx').exists():
        shell(place, 'hsonet export configs/hsonet_lite_levir.py best.pth -o model.onnx')
    exec(compile(text, place, 'exec'), given)  # the text of our own documents


# --- what the documents name, in sentences and in what is not run, is there


def named(pattern):
    """What a pattern finds in code, inline or in blocks, with the document."""
    found = set()
    for path in DOCUMENTS:
        text = path.read_text(encoding='utf-8')
        blocks = [snippet.text for snippet in SNIPPETS if snippet.document == name_of(path)]
        inline = re.findall(r'`([^`\n]+)`', re.sub(r'^ *```.*?^ *```', '', text, flags=re.S | re.M))
        found |= {(name_of(path), name) for code in (*blocks, *inline) for name in re.findall(pattern, code)}
    assert len(found) >= 3
    return sorted(found)


def test_files():
    names = named(r'(?<![\w/.-])(?:tools|configs|docs|tests)/\w[\w/.\-]*')
    assert [name for name in names if not (ROOT / name[1]).exists()] == []


def test_commands():
    assert [name for name in named(r'\bhsonet ([a-z]+)\b') if name[1] not in cli.COMMANDS] == []


def test_options():
    ours = ''.join(
        path.read_text() for part in ('hsonet_mm', 'tools') for path in (ROOT / part).rglob('*.py')
    )
    ours += ''.join(f"'--{package}'" for package in TRACKERS)
    foreign = {
        '--help',
        '--no-deps',
        '--force-reinstall',
        '--index-url',
        '--nproc-per-node',
        '--nproc_per_node',
        '--resolution',
    }
    foreign |= {'--ipc', '--shm-size'}  # of Docker
    foreign |= {'--not-show', '--output-dir'}  # of Open-CD's tools
    names = named(r'(?<![\w-])--[a-z0-9_-]+')
    assert [name for name in names if f"'{name[1]}'" not in ours and name[1] not in foreign] == []


def test_extras():
    extras = re.findall(r'^(\w+) = \[', (ROOT / 'pyproject.toml').read_text(), re.M)
    names = [
        (document, name)
        for document, some in named(r'"\.?(?:hsonet_mm)?\[([\w,]+)\]"')
        for name in some.split(',')
    ]
    assert [name for name in names if name[1] not in extras] == []


def test_targets():
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.M)
    assert [name for name in named(r'\bmake ([a-z-]+)') if name[1] not in targets] == []
