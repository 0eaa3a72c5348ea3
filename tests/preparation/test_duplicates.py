"""Images of the same ground are found: turned, brightened, cropped."""

import numpy as np
import pytest

pytest.importorskip('rasterio')

from made_up_checks import altered, check, ground, only, plain, save

from hsonet_mm.preparation.duplicates import find_duplicates, thumbnail

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize('turn', range(4))
@pytest.mark.parametrize('flip', [False, True])
@pytest.mark.parametrize(('crop', 'gain', 'offset'), [(1, 1, 0), (1, 0.7, 40), (0.95, 1.2, -20)])
def test_altered_copies_are_found(turn, flip, crop, gain, offset):
    originals = [thumbnail(ground(seed)) for seed in range(8)]
    copies = [thumbnail(altered(ground(seed), turn, flip, crop, gain, offset)) for seed in (5, 2)]
    found = find_duplicates(copies, originals)
    assert [(one.first, one.second) for one in found] == [(0, 5), (1, 2)]
    assert all(one.correlation > 0.75 and one.distance <= 44 for one in found)


@pytest.mark.parametrize('swap', [False, True])
def test_the_fit_allows_for_crops(swap):
    whole, cropped = thumbnail(ground(5)), thumbnail(altered(ground(5), 1, True, 0.83, 1, 0))
    pair = (whole, cropped) if swap else (cropped, whole)
    found = find_duplicates([pair[0]], [pair[1]], max_distance=144)
    assert found[0].correlation > 0.75


def test_different_places_and_plain_ground_are_not_duplicates():
    first = [thumbnail(ground(seed)) for seed in range(60)] + [thumbnail(plain(seed)) for seed in range(40)]
    second = [thumbnail(ground(seed)) for seed in range(60, 120)] + [
        thumbnail(plain(seed)) for seed in range(40, 80)
    ]
    assert find_duplicates(first, second) == []
    assert find_duplicates(first) == []


def test_nothing_to_recognise():
    flat = np.full((72, 72), 9, np.uint8)
    assert find_duplicates([flat], [flat]) == []
    assert find_duplicates([flat]) == []
    assert find_duplicates([], [flat]) == []
    assert find_duplicates([flat], []) == []


@pytest.mark.parametrize('roles', ['AB', 'BA'])
def test_copy_in_another_split_is_an_error_told_once(data, roles):
    for role, seed in zip(roles, (4, 504), strict=True):
        save(data / 'test' / role / '2.png', altered(ground(seed), 3, True, 0.95, 0.8, 20))
    message = only(data, 'error', 'duplicate')
    assert message.startswith('train/')
    assert '/4.png: shows the same ground as test/' in message
    assert message.endswith('remove one of the pairs')
    assert check(data, duplicates=False) == ([], [])


@pytest.mark.parametrize('role', ['A', 'B'])
def test_one_date_that_looks_alike_is_a_warning(data, role):
    save(data / 'test' / role / '2.png', altered(ground(4), 1, False, 1, 1, 0))
    message = only(data, 'warning', 'look-alike')
    assert message.startswith(
        f'train/A/4.png: looks like test/{role}/2.png, at this date only (correlation 0.'
    )


def test_repeats_within_a_split_are_a_remark(data):
    for role, seed in (('A', 4), ('B', 504)):
        save(data / 'train' / role / '2.png', altered(ground(seed), 2, False, 1, 1, 5))
    message = only(data, 'warning', 'repeats')
    assert message.startswith('train/')
    assert 'train has at least 1 such pairs' in message
