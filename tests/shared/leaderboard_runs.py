"""Runs of a leaderboard in the process of the tests, and what reads their files."""

import sys
import types

import yaml
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads import FCNHead

from hsonet_mm.checkpoints import load_weights
from hsonet_mm.leaderboard import records
from hsonet_mm.leaderboard.job import write_job
from hsonet_mm.leaderboard.plan import contenders
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.registry import MODELS

MODULE = 'hsonet_mm.leaderboard.run'
SWITCH = {'broken': True}


@MODELS.register_module()
class LeaderboardTestHead(FCNHead):
    """A head that fails in training while the switch is on."""

    def loss(self, *args, **kwargs):
        if SWITCH['broken']:
            raise RuntimeError('gone\nwrong')
        return super().loss(*args, **kwargs)


def stub_report(monkeypatch):
    report = types.ModuleType('hsonet_mm.leaderboard.report')
    report.calls = []

    def write_report(out, pictures=True):
        report.calls.append(pictures)
        return out / 'index.html'

    report.write_report = write_report
    monkeypatch.setitem(sys.modules, report.__name__, report)
    return report


def one_method(path):
    """The same spec with the method that works on one data set."""
    spec = yaml.safe_load(path.read_text())
    del spec['blocks']['From scratch, 4']['methods']['broken'], spec['data']['demo']
    path.write_text(yaml.safe_dump({**spec, 'also_test': {}}, sort_keys=False))
    return path


def rows_of(out, table, **wanted):
    """Rows of a table with the wanted values."""
    found = [
        row
        for row in records.read(out / f'{table}.csv')
        if all(row[name] == str(value) for name, value in wanted.items())
    ]
    assert found, (table, wanted)
    return found


def run_folder(out, method='tiny', data_set='houses'):
    return out / 'runs' / data_set / 'from-scratch-4' / method / 'seed3'


def best_checkpoint(out):
    (path,) = (run_folder(out) / 'work_dir').glob('*.pth')  # those of the last iterations are gone
    return path


def best_model(out):
    cfg = Config.fromfile(run_folder(out) / 'config.py')
    init_default_scope(cfg.default_scope)
    model = ROOT_MODELS.build(cfg.model).eval()
    load_weights(model, best_checkpoint(out))
    return model


def leaderboard(hsonet, spec, out, *args):
    return hsonet('leaderboard', spec, '--out', out, *args)


def first_job(spec_path, out):
    spec = read_spec(spec_path)
    (run, *_) = spec.runs()
    return write_job(spec, run, contenders(spec)[run[:2]], {}, out)
