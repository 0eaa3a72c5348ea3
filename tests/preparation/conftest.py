"""Made-up data sets that several files prepare or check."""

import pytest
from made_up_sources import add_scene


@pytest.fixture
def scenes(tmp_path):
    root = tmp_path / 'scenes'
    for number in range(10):
        add_scene(root, f'place{number}', number)
    return root


@pytest.fixture
def official(tmp_path):
    root = tmp_path / 'official'
    for number, split in enumerate(('train', 'train', 'train', 'val', 'test')):
        add_scene(root / split, f'{split}_{number}', number)
    return root


@pytest.fixture
def data(tmp_path):
    from made_up_checks import SPLITS, ground, label_of, save

    root = tmp_path / 'data'
    seed = 0
    for split, count in SPLITS.items():
        for number in range(count):
            save(root / split / 'A' / f'{number}.png', ground(seed))
            save(root / split / 'B' / f'{number}.png', ground(seed + 500))
            save(root / split / 'label' / f'{number}.png', label_of(seed))
            seed += 1
    return root
