"""Leaderboards that several files look at; what needs an extra is imported by the fixtures."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from mmengine.config import Config

from hsonet_mm import workers
from hsonet_mm.demo.generate import generate


@pytest.fixture(scope='session')
def board(tmp_path_factory):
    """Two blocks, three methods, three seeds, pictures; one run failed, one was scored twice."""
    from made_up_leaderboard import SKILLS, T2, Fake, make_labels

    from hsonet_mm.leaderboard.report import write_report

    root = tmp_path_factory.mktemp('data')
    labels = make_labels()
    rng = np.random.default_rng(0)
    for name, label in labels.items():
        for part in ('A', 'B', 'label'):
            (root / 'test' / part).mkdir(parents=True, exist_ok=True)
            image = (
                255 * label.astype(np.uint8)
                if part == 'label'
                else rng.integers(0, 255, (*label.shape, 3), np.uint8)
            )
            cv2.imwrite(str(root / 'test' / part / f'{name}.png'), image)
    blocks = {'from scratch': SKILLS, 'ImageNet weights': {'hsonet_lite': 1.0, 'unet_r18': 0.9}}
    fake = Fake(tmp_path_factory.mktemp('board'), labels, blocks, root=root, dates=True)
    fake.run(
        'from scratch', 'ussfc_net', 1, 0.3, scored_at=T2
    )  # the same run, scored again with other figures
    fake.drop('tinycd', 2)
    fake.fail('from scratch', 'tinycd', 2, 'the loss is <NaN> | stop')
    fake.write()
    write_report(fake.out)
    return fake


@contextmanager
def _hurried_costs():
    """Costs are measured in a moment, and never beside these tests."""
    from hsonet_mm.leaderboard import cost

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, 'SECONDS', 0.0)
        patch.setattr(cost, 'SIZE', 64)
        patch.setattr(os, 'getloadavg', lambda: (0.0, 0.0, 0.0))
        yield


@pytest.fixture(scope='module', autouse=True)
def _hurried():
    with _hurried_costs():
        yield


@pytest.fixture(scope='session')
def execute_here(forget_runs):
    """A function that does a run in this process instead of one of its own."""
    from hsonet_mm.leaderboard import run as runs

    def execute(job):
        forget_runs()
        return runs.main([str(job)])

    return execute


@pytest.fixture(scope='session')
def launch_here(execute_here):
    """The same in place of ``workers.launch``."""
    from leaderboard_runs import MODULE

    from hsonet_mm.leaderboard import cost

    def launch(job, module, env, processes):
        del env, processes
        if module == 'hsonet_mm.leaderboard.cost':
            return cost.main([job])
        assert module == MODULE
        return execute_here(job)

    return launch


@pytest.fixture
def in_process(launch_here, monkeypatch):
    """Runs without processes of their own, and no report."""
    from leaderboard_runs import MODULE, stub_report

    started = []

    def launch(job, module, env, processes):
        if module == MODULE:
            started.append(Path(job))
        return launch_here(job, module, env, processes)

    monkeypatch.setattr(workers, 'launch', launch)
    stub_report(monkeypatch)
    return started


@pytest.fixture(scope='session')
def write_spec(write_config, tiny_data, tmp_path_factory):
    """A function (path, changes) that writes a spec of two methods, one of which fails, on two data sets."""
    import leaderboard_runs  # noqa: F401, brings the head that fails

    folder = tmp_path_factory.mktemp('configs')
    recipe = write_config(folder / 'recipe.py')
    model = Config.fromfile(recipe).model
    broken = {
        **model.to_dict(),
        'neck': {'type': 'FeatureFusionNeck', 'policy': 'concat'},
        'decode_head': {
            'type': 'hsonet_mm.LeaderboardTestHead', 'in_channels': 16, 'in_index': 0, 'channels': 8, 'num_classes': 2,
            'out_channels': 1, 'threshold': 0.5, 'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True},
        },
    }  # fmt: skip
    (folder / 'broken.py').write_text(f'model = {broken!r}\n')
    generate(folder / 'demo', train=2, val=1, test=2, size=96, seed=1)
    spec = {
        'title': 'Test',
        'recipe': str(recipe),
        'iterations': 4,
        'validations': 2,
        'seeds': [3],
        'data': {'houses': str(tiny_data), 'demo': str(folder / 'demo')},
        'also_test': {'houses': str(tiny_data), 'demo': str(folder / 'demo')},
        'blocks': {
            'From scratch, 4': {
                'reference': 'tiny',
                'options': {'optim_wrapper.optimizer.lr': 3e-3},
                'methods': {
                    'tiny': {'config': str(recipe), 'options': {'model.decode_head.prior': 0.3}},
                    'broken': str(folder / 'broken.py'),
                },
            }
        },
    }

    def write(path, **changes):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({**spec, **changes}, sort_keys=False))
        return path

    return write


@pytest.fixture(scope='session')
def trained_board(write_spec, launch_here, tmp_path_factory):
    """A leaderboard whose runs were executed: folder, exit code, stdout."""
    from leaderboard_runs import SWITCH, stub_report

    from hsonet_mm.commands import leaderboard as command

    folder = tmp_path_factory.mktemp('board')
    SWITCH['broken'] = True
    lines = []
    with _hurried_costs(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, 'launch', launch_here)
        stub_report(patch)
        patch.setattr('builtins.print', lambda *args, **_: lines.append(' '.join(map(str, args))))
        parser = command.argparse.ArgumentParser()
        command.add_arguments(parser)
        code = command.run(
            parser.parse_args([str(write_spec(folder / 'spec.yaml')), '--out', str(folder / 'out')])
        )
    return folder / 'out', code, lines


@pytest.fixture
def trained_run(trained_board, tmp_path):
    """The file of a run in ``tmp_path / 'out'`` that is trained and not scored."""
    from leaderboard_runs import run_folder

    folder = run_folder(tmp_path / 'out')
    shutil.copytree(run_folder(trained_board[0]), folder, ignore=shutil.ignore_patterns('parts', 'probs'))
    return folder / 'run.json'
