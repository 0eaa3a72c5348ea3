"""Fixtures of the tests of exports."""

import pytest
from helpers import LIGHT


@pytest.fixture(scope='session')
def trained(tmp_path_factory, write_random):
    return write_random(tmp_path_factory.mktemp('trained'), 300, LIGHT)
