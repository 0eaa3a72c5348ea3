"""The picture of some pairs of every split."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rasterio')

from made_up_checks import label_of

from hsonet_mm.cli import run_tool
from hsonet_mm.index import SceneFiles
from hsonet_mm.preparation.check import check_dataset
from hsonet_mm.preparation.contact_sheet import choose, overlay
from hsonet_mm.preparation.inspection import PairRecord

pytestmark = pytest.mark.any_host


def test_choice_holds_the_most_changed_and_others():
    def record(number, changed, **kwargs):
        files = {'A': 'a', 'B': 'b', 'label': 'l'}
        return PairRecord(
            SceneFiles(f's{number}', 'val', str(number), files), 'val', (10, 10), changed, 100, **kwargs
        )

    records = [record(number, number) for number in range(50)]
    chosen = [one.changed for one in choose(records, 6, 0)]
    assert chosen[:3] == [49, 48, 47]
    assert chosen == sorted(chosen, reverse=True)
    assert len(set(chosen)) == 6
    assert chosen == [one.changed for one in choose(records[::-1], 6, 0)]
    assert chosen != [one.changed for one in choose(records, 6, 1)]
    unreadable = PairRecord(SceneFiles('u', 'val', 'u', {'A': 'a'}), 'val', (10, 10))
    assert choose([unreadable], 6, 0) == []


def test_overlay_marks_the_changed_pixels_only():
    image = np.full((50, 50, 3), 100, np.uint8)
    changed = np.zeros((50, 50), bool)
    changed[10:30, 10:30] = True
    marked = overlay(image, changed)
    assert (marked[~changed] == 100).all()
    assert (marked[changed][:, 0] > 100).all()
    assert (image == 100).all()


def test_contact_sheet_is_a_png(data, tmp_path, capsys):
    assert run_tool('check', [str(data), '--contact-sheet', str(tmp_path / 'sheet.jpg')]) == 2
    assert 'expected a name that ends in .png' in capsys.readouterr().err


def test_contact_sheet_shows_the_pairs(data, tmp_path):
    (data / 'train/B/0.png').write_bytes(b'broken')
    check_dataset(data, sheet=tmp_path / 'sheet.png', pairs=2)
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    cell, line, gap = 192, 20, 4
    assert sheet.shape == (line + 2 * (cell + line), 3 * (3 * (cell + gap) + 4 * gap), 3)
    most = max(range(6), key=lambda seed: label_of(seed).sum())
    expected = cv2.resize(
        cv2.imread(str(data / f'train/A/{most}.png')), (cell, cell), interpolation=cv2.INTER_AREA
    )
    assert np.array_equal(sheet[line : line + cell, :cell], expected)
    assert sorted(path.name for path in tmp_path.iterdir() if 'sheet' in path.name) == ['sheet.png']
