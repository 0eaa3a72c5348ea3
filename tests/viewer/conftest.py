"""Results of scenes that several files view; what needs an extra is imported by the fixtures."""

import pytest


@pytest.fixture(scope='session')
def scene(tmp_path_factory):
    """A result and its view."""
    from made_up_view import make_scene

    from hsonet_mm.viewer.page import view_scene

    path = make_scene(tmp_path_factory.mktemp('scene'))
    return path, view_scene(path).folder


@pytest.fixture
def small(tmp_path):
    """A result of one tile that a test may break."""
    from made_up_view import make_scene

    return make_scene(tmp_path / 'small', 90, 120, ((20, 30, 30, 40, 255),), hole=False)
