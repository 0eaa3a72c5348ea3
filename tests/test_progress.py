"""The progress display: a bar on a terminal, and nothing in a log."""

import io
import sys

import pytest

from hsonet_mm.progress import progress_bar, track

pytest.importorskip('rich')
pytestmark = pytest.mark.any_host


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A function that puts a terminal in the place of the standard error stream; pytest does so after fixtures."""

    def put():
        stream = Terminal()
        monkeypatch.setenv('TERM', 'xterm')
        monkeypatch.setattr(sys, 'stderr', stream)
        return stream

    return put


def test_a_terminal_shows_what_is_done(terminal):
    stream = terminal()
    with progress_bar('tiles', total=100, done=40, megapixels=1.0) as advance:
        for _ in range(10):
            advance()
    text = stream.getvalue()
    assert 'tiles' in text
    assert '50/100' in text
    assert 'Mpx/s' in text


def test_steps_without_pixels_have_no_rate(terminal):
    stream = terminal()
    assert list(track('abc', 'reading', 3)) == ['a', 'b', 'c']
    assert '3/3' in stream.getvalue()
    assert 'Mpx/s' not in stream.getvalue()


def test_nothing_is_shown_on_request(terminal):
    stream = terminal()
    with progress_bar('tiles', total=2, shown=False) as advance:
        advance()
    assert stream.getvalue() == ''


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    assert list(track('abc', 'reading', 3)) == ['a', 'b', 'c']
    assert capsys.readouterr() == ('', '')


def test_a_failure_passes(terminal):
    terminal()
    with pytest.raises(KeyError), progress_bar('tiles', total=2):
        raise KeyError('x')
