"""The option --cfg-options."""

import argparse

import pytest

from hsonet_mm.overrides import add_cfg_options

pytestmark = pytest.mark.any_host


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser.parse_args(words).cfg_options


def test_values_are_read_as_mmengine_does():
    pytest.importorskip('mmengine')
    assert parsed() is None
    assert parsed('--cfg-options', 'model.lr=1e-3', 'a=1,2', 'b=x=y') == {
        'model.lr': 1e-3,
        'a': [1, 2],
        'b': 'x=y',
    }


def test_a_word_without_a_value_is_a_mistake_of_the_user(capsys):
    pytest.importorskip('mmengine')
    with pytest.raises(SystemExit, match='2'):
        parsed('--cfg-options', 'a=1', 'model')
    assert "error: invalid --cfg-options 'model': expected KEY=VALUE" in capsys.readouterr().err
