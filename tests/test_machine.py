"""What is known of the machine."""

from pathlib import Path

import pytest
import torch

from hsonet_mm import machine

pytestmark = pytest.mark.any_host


def test_gpu_is_waited_for_and_named(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: calls.append('wait'))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'A GPU')
    assert machine.timed(lambda: calls.append('predict')) >= 0
    assert calls == ['wait', 'predict', 'wait']
    assert machine.device_name() == 'A GPU'


def test_processor_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    for threads, words in ((1, '1 thread'), (3, '3 threads')):
        monkeypatch.setattr(torch, 'get_num_threads', lambda threads=threads: threads)
        name = machine.device_name().removesuffix(f', {words}')
        assert name != machine.device_name()
        assert not Path('/proc/cpuinfo').exists() or name in Path('/proc/cpuinfo').read_text()
    monkeypatch.setattr(Path, 'exists', lambda _: False)
    monkeypatch.setattr(machine.platform, 'processor', lambda: '')
    monkeypatch.setattr(machine.platform, 'machine', lambda: 'sparc')
    assert machine.device_name() == 'sparc, 3 threads'


@pytest.mark.parametrize(
    ('cpuinfo', 'expected'),
    [
        ('model name\t: X\nflags\t\t: fpu avx512f avx512_vnni\n', False),
        ('model name\t: X\nflags\t\t: fpu avx512f avx512_bf16\n', True),
        ('flags\t\t: fpu amx_tile amx_bf16 amx_int8\n', True),
        ('Features\t: fp asimd i8mm bf16 dgh\n', True),
        ('Features\t: fp asimd asimdhp\n', False),
        ('model name\t: avx512_bf16\n', None),
        ('', None),  # another system than Linux: nothing is known
    ],
)
def test_instructions_for_bfloat16(cpuinfo, expected, monkeypatch):
    monkeypatch.setattr(Path, 'exists', lambda _: bool(cpuinfo))
    monkeypatch.setattr(Path, 'read_text', lambda _: cpuinfo)
    assert machine.has_bf16() is expected
