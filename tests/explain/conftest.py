"""The tiny network and a pair; what needs an extra is imported by the fixtures."""

import cv2
import pytest

from hsonet_mm.images import ImagePair


@pytest.fixture(scope='session')
def tiny_network(tiny_checkpoint):
    from hsonet_mm.explain.networks import open_network

    return open_network('tiny', *tiny_checkpoint)


@pytest.fixture
def tiny_pair(tiny_data):
    """An 80 x 272 pair, which the network pads to 96 x 288."""
    return ImagePair(
        *(cv2.imread(str(tiny_data / 'test' / date / '0.png'))[..., ::-1] for date in 'AB'), None
    )
