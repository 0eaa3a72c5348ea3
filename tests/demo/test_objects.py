"""Labels and types of the demo scenes agree with what was drawn."""

import math

import numpy as np
import pytest

from hsonet_mm.demo import HARD_CASES, make_pair
from hsonet_mm.demo.events import plan_scene
from hsonet_mm.demo.objects import SMALLEST
from hsonet_mm.demo.render import render

pytestmark = pytest.mark.any_host


def test_label_is_the_union_of_the_footprints_of_changed_buildings(pairs):
    changes = 0
    for pair in pairs:
        expected = np.zeros((256, 256), bool)
        for building in pair.scene.buildings:
            if building.changed:
                window, mask = building.footprint(256)
                expected[window] |= mask
                changes += 1
        np.testing.assert_array_equal(pair.label == 255, expected)
        assert set(np.unique(pair.label)) <= {0, 255}
    assert changes > 100


def test_objects_agree_with_the_map(pairs):
    for pair in pairs:
        assert [thing.id for thing in pair.objects] == list(range(1, len(pair.objects) + 1))
        assert set(np.unique(pair.ids)) - {0} == {thing.id for thing in pair.objects}
        for thing in pair.objects:
            mask = pair.ids == thing.id
            rows, columns = np.nonzero(mask)
            assert thing.area == mask.sum()
            assert thing.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.changed == HARD_CASES[thing.kind].changed == bool(pair.label[mask].any())
            assert (thing.kind == 'small') == (thing.changed and thing.area < 100)
            assert thing.changed or thing.area >= SMALLEST


def test_every_kind_occurs_several_times(pairs):
    kinds = [{thing.kind for thing in pair.objects} for pair in pairs]
    often = {kind: sum(kind in one for one in kinds) for kind in HARD_CASES}
    assert min(often.values()) >= 2, often
    assert {kind for one in kinds for kind in one} == set(HARD_CASES)


def test_most_buildings_stay_and_the_changed_share_is_that_of_real_data(pairs):
    shares = [np.mean(pair.label > 0) for pair in pairs]
    assert 0.04 < np.mean(shares) < 0.1
    assert max(shares) < 0.16
    for pair in pairs:
        changed = sum(building.changed for building in pair.scene.buildings)
        assert changed <= 0.45 * len(pair.scene.buildings)
    fates = [building.present for pair in pairs for building in pair.scene.buildings]
    assert {(True, True), (True, False), (False, True)} == set(fates)


def test_types_agree_with_what_was_drawn():
    found = dict.fromkeys(('occluded', 'shadowed', 'low_contrast', 'vehicle', 'moved_shadow', 'cloud'), 0)
    for index in range(12):
        rng = np.random.default_rng([0, 2, index])  # of make_pair(256, 0, 'test', index)
        done = render(plan_scene(256, rng), rng)
        pair = make_pair(256, 0, 'test', index)
        np.testing.assert_array_equal(done.images[1], pair.images[1])
        veil = [(crown > 0) | (cloud > 0.3) for crown, cloud in zip(done.crowns, done.clouds, strict=True)]
        for thing in pair.objects:
            mask = pair.ids == thing.id
            found[thing.kind] = found.get(thing.kind, 0) + 1
            if thing.kind == 'occluded':
                assert max(np.mean(one[mask]) for one in veil) >= 0.2
            elif thing.kind == 'shadowed':
                assert max(np.mean(one[mask]) for one in done.shadows) >= 0.25
            elif thing.kind in ('vehicle', 'repainted_roof', 'resurfacing'):
                assert np.all(np.abs(done.colours[1] - done.colours[0])[mask].max(-1) > 8)
            elif thing.kind == 'moved_shadow':
                assert np.all(done.shadows[0][mask] != done.shadows[1][mask])
            elif thing.kind == 'cloud':
                assert max(one[mask].min() for one in done.clouds) > 0.3
    assert min(found.values()) > 0, found


def test_conditions_of_the_pair_are_typed(pairs):
    for pair in pairs:
        kinds = {thing.kind for thing in pair.objects}
        far = math.hypot(*pair.scene.shift)
        assert far == 0 or 1 <= far <= 2
        assert ('misregistration' in kinds) <= (far > 0)
        assert ('illumination' in kinds) == pair.scene.illumination == bool(np.all(pair.ids > 0))
        assert ('cloud' in kinds) <= bool(pair.scene.clouds)
