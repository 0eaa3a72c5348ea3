"""Benchmarks: what they print follows from what was measured, and mistakes end in one sentence."""

import re
import sys
import time

import pytest

from hsonet_mm.benchmark import timing
from hsonet_mm.benchmark.main import main


def rows(text):
    """The cells of a table in Markdown by their first ones, without its head."""
    lines = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('|')]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines[2:]}


def figures(cell):
    """Median, lowest and highest of a cell."""
    return [float(number) for number in re.fullmatch(r'([\d.]+) \(([\d.]+)-([\d.]+)\)', cell).groups()]


@pytest.mark.any_host
def test_functions_are_measured_in_turns(monkeypatch):
    calls, clock = [], iter(range(100))
    monkeypatch.setattr(timing, 'timed', lambda function, _: (function(), next(clock))[1])
    seconds = timing.alternate({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, 2)
    assert calls == list('ababab')
    assert seconds == {'a': [2, 4], 'b': [3, 5]}  # the first round is not counted


@pytest.mark.any_host
def test_processor_time_does_not_pass_while_nothing_is_computed():
    seconds = {
        clock: timing.alternate({'sleep': lambda: time.sleep(0.05)}, 1, clock) for clock in timing.CLOCKS
    }
    assert seconds['wall']['sleep'][0] >= 0.05
    assert seconds['processor']['sleep'][0] < 0.025
    assert 'processor time of 1 rounds in turns' in timing.header(1, 'processor')


@pytest.mark.any_host
def test_ratios_are_those_of_rounds():
    # The machine is four times as slow in the third round: the ratios do not feel it, the ratio of medians would.
    ratios = timing.speedups({'old': [2.0, 3.0, 12.0], 'new': [1.0, 2.0, 4.0]}, 'old')
    assert ratios == {'old': [1, 1, 1], 'new': [2, 1.5, 3]}
    assert timing.spread(ratios['new'], 1) == '2.0 (1.5-3.0)'


@pytest.mark.any_host
def test_table_is_markdown():
    assert timing.table(['a', 'long'], [['1', '2'], ['three', '']]).splitlines() == [
        '| a     | long |',
        '| ----- | ---- |',
        '| 1     | 2    |',
        '| three |      |',
    ]


def test_steps_of_training(write_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rasterio', None)  # which the part of scenes needs alone
    monkeypatch.delitem(sys.modules, 'hsonet_mm.benchmark.scene', raising=False)
    config = write_config(tmp_path / 'tiny.py')
    contenders = [str(config), f'{config}:bf16']
    assert main(['training', *contenders, '--batch', '2', '--size', '32', '--rounds', '3']) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('Training step, 2 x 32 x 32, ')
    assert re.search(r'PyTorch \S+, load [\d.]+ on \d+ cores; wall time of 3 rounds in turns', printed)
    table = rows(printed)
    assert list(table) == ['tiny.py', 'tiny.py:bf16']
    assert figures(table['tiny.py'][1]) == [1, 1, 1]
    for seconds, _ in table.values():
        middle, low, high = figures(seconds)
        assert low <= middle <= high


@pytest.mark.any_host
def test_price_of_eo_loss(capsys):
    assert main(['losses', '--shape', '2', '64', '64', '--rounds', '2']) == 0
    table = rows(capsys.readouterr().out)
    forms = [f'eo_loss, form {form}' for form in ('all', 'background', 'top_share')]
    assert list(table) == ['BCE', *forms, 'EOLoss', 'EOLoss, logging']
    assert figures(table['BCE'][1]) == [1, 1, 1]
    mib = {name: float(cells[2]) for name, cells in table.items()}
    for name, (_, _, _, larger) in table.items():
        assert float(larger) == pytest.approx(
            mib[name] / mib['BCE'], rel=0.1
        )  # figures are rounded to hundredths
    # Time is left to a quiet machine; memory is the same in every run and at every size.
    # At the worst moment BCE holds 3 maps of the size of the logits and EO-loss 12.5; its log takes 1.5 more.
    for name, most in (('eo_loss, form all', 4.25), ('EOLoss', 4.25), ('EOLoss, logging', 4.75)):
        assert 1 < float(table[name][3]) <= most


@pytest.mark.any_host
def test_missing_config_ends_in_one_sentence(tmp_path, capsys):
    assert main(['training', str(tmp_path / 'no.py')]) == 2
    assert capsys.readouterr().err.startswith(f'error: the config {tmp_path / "no.py"} does not exist: ')
