"""Fixtures of the tests of inference."""

import pytest


@pytest.fixture(scope='session')
def trained(tmp_path_factory, write_random):
    """Config and checkpoint of random weights."""
    return write_random(tmp_path_factory.mktemp('trained'))
