"""Leaderboards that several files look at; what needs an extra is imported by the fixtures."""

import cv2
import numpy as np
import pytest


@pytest.fixture(scope='session')
def board(tmp_path_factory):
    """Two blocks, three methods, three seeds, pictures; one run failed, one was scored twice."""
    from made_up_leaderboard import SKILLS, T2, Fake, make_labels

    from hsonet_mm.leaderboard.report import write_report

    root = tmp_path_factory.mktemp('data')
    labels = make_labels()
    rng = np.random.default_rng(0)
    for name, label in labels.items():
        for part in ('A', 'B', 'label'):
            (root / 'test' / part).mkdir(parents=True, exist_ok=True)
            image = (
                255 * label.astype(np.uint8)
                if part == 'label'
                else rng.integers(0, 255, (*label.shape, 3), np.uint8)
            )
            cv2.imwrite(str(root / 'test' / part / f'{name}.png'), image)
    blocks = {'from scratch': SKILLS, 'ImageNet weights': {'hsonet_lite': 1.0, 'unet_r18': 0.9}}
    fake = Fake(tmp_path_factory.mktemp('board'), labels, blocks, root=root, dates=True)
    fake.run(
        'from scratch', 'ussfc_net', 1, 0.3, scored_at=T2
    )  # the same run, scored again with other figures
    fake.drop('tinycd', 2)
    fake.fail('from scratch', 'tinycd', 2, 'the loss is <NaN> | stop')
    fake.write()
    write_report(fake.out)
    return fake
