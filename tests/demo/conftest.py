"""Pairs that several files look at."""

import pytest

from hsonet_mm.demo import make_pair


@pytest.fixture(scope='session')
def pairs():
    return [make_pair(256, 0, 'test', index) for index in range(24)]
