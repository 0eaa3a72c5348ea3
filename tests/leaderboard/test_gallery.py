"""The pictures of the report: the right images, drawn from what was scored."""

import base64
import json
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from made_up_leaderboard import CELL, CONFIG, TABLE, records_of, spec_of, tables_of

from hsonet_mm.leaderboard import gallery as pictures
from hsonet_mm.leaderboard.board import rows_of
from hsonet_mm.leaderboard.report import write_report
from hsonet_mm.leaderboard.summary import summarise

sklearn = pytest.importorskip('sklearn.metrics')
pytestmark = pytest.mark.any_host


def test_worst_and_disputed_images_are_the_right_ones(board):
    spec, records = spec_of(board), records_of(board)
    rows = summarise(spec, records)[CELL]
    album = pictures.gallery(board.out, spec, records.of(CELL), CELL, rows)
    assert album.missing == ''
    masks = {}
    for row in rows:
        seed = row.seeds[0]
        where = {'block': 'from scratch', 'method': row.method, 'seed': seed, **TABLE}
        (line,) = rows_of(records.results, **where).to_dict('records')
        folder = board.out / f'runs/demo/from-scratch/{row.method}/seed{seed}/probs/demo'
        for name in board.labels:
            masks[row.method, name] = cv2.imread(str(folder / f'{name}.png'), 0) > 255 * float(
                line['threshold']
            )
        scores = {
            name: sklearn.f1_score(label.ravel(), masks[row.method, name].ravel())
            for name, label in board.labels.items()
            if label.any()
        }
        scenes = dict(album.worst)[row.method]
        assert [scene.image for scene in scenes[:2]] == sorted(scores, key=scores.get)[:2]
        alarms = {name: int((masks[row.method, name] & ~label).sum()) for name, label in board.labels.items()}
        assert 'most false alarms' in next(
            scene.why for scene in scenes if scene.image == max(alarms, key=alarms.get)
        )
    names = [row.method for row in rows]
    disputes = {
        image: np.mean(
            [(masks[a, image] ^ masks[b, image]).mean() for i, a in enumerate(names) for b in names[:i]]
        )
        for image in board.labels
    }
    assert [scene.image for scene in album.disputed] == sorted(disputes, key=disputes.get, reverse=True)[:3]
    assert [picture.caption.split(':')[0] for picture in album.disputed[0].pictures] == [
        'date 1',
        'date 2',
        'label',
        *names,
    ]
    assert album.disputed[0].why.endswith(f'{max(disputes.values()):.1%} of the pixels on average')


def test_pictures_can_be_left_out(board):
    text = (board.out / 'index.html').read_text()
    assert 'data:image/jpeg' in text
    without = write_report(board.out, pictures=False).read_text()
    assert 'data:image' not in without
    assert 'Pictures were left out of this page on request' in without
    write_report(board.out)
    assert (board.out / 'index.html').read_text() == text


def test_page_says_why_pictures_are_missing(board, tmp_path):
    spec, records = spec_of(board), records_of(board)
    rows = summarise(spec, records)[CELL]

    def missing(out=board.out, data=spec.data):
        return pictures.gallery(out, spec.model_copy(update={'data': data}), records.of(CELL), CELL, rows)

    assert 'probs/demo of the runs are not there' in missing(out=tmp_path).missing
    assert f'the folder {tmp_path}/test/A does not exist' in missing(data={'demo': str(tmp_path)}).missing
    assert 'the environment variable NO_SUCH_ROOT of' in missing(data={'demo': '${NO_SUCH_ROOT}'}).missing
    for part in ('A', 'B', 'label'):
        (tmp_path / 'test' / part).mkdir(parents=True)
        for name in board.labels:
            cv2.imwrite(str(tmp_path / 'test' / part / f'{name}.png'), np.zeros((20, 20), np.uint8))
    assert 'differ in size' in missing(data={'demo': str(tmp_path)}).missing
    for path in (tmp_path / 'test/label').iterdir():
        path.write_bytes(b'no image')
    assert 'cannot be read as an image' in missing(data={'demo': str(tmp_path)}).missing


def test_pictures_of_another_training_are_left_out(board, tmp_path):
    shutil.copytree(board.out / 'runs', tmp_path / 'runs')
    for path in tmp_path.glob('runs/*/*/tinycd/*/trains.json'):
        path.write_text(json.dumps(['of another one', 'd07']))
    rows = tables_of(board)[CELL]
    shown = pictures.gallery(tmp_path, spec_of(board), records_of(board).of(CELL), CELL, rows)
    everything = pictures.gallery(board.out, spec_of(board), records_of(board).of(CELL), CELL, rows)
    assert {method for method, _ in everything.worst} - {method for method, _ in shown.worst} == {'tinycd'}


def test_pictures_show_what_was_scored(board, tmp_path):
    """Labels of 0 and 1, with pixels that are ignored, in folders that the config of the run names."""
    spec, records = spec_of(board), records_of(board)
    rows = tables_of(board)[CELL]
    ours = pictures.gallery(board.out, spec, records.of(CELL), CELL, rows)
    for name, label in board.labels.items():
        for part, folder in (('A', 'before'), ('B', 'after')):
            (tmp_path / folder).mkdir(exist_ok=True)
            source = board.root / 'test' / part / f'{name}.png'
            (tmp_path / folder / f'{name}.png').write_bytes(source.read_bytes())
        (tmp_path / 'truth').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'truth' / f'{name}.png'), label.astype(np.uint8))
    out = tmp_path / 'board'
    config = CONFIG.replace('test/A', 'before').replace('test/B', 'after').replace('test/label', 'truth')
    shutil.copytree(board.out / 'runs', out / 'runs')
    for path in out.rglob('config.py'):
        path.write_text(config)
    moved = spec.model_copy(update={'data': {'demo': str(tmp_path)}})
    assert pictures.gallery(out, moved, records.of(CELL), CELL, rows) == ours
    ignored = np.zeros((64, 64), bool)
    ignored[:, :40] = True
    for name, label in board.labels.items():
        values = np.where(ignored, 9, label).astype(np.uint8)
        cv2.imwrite(str(tmp_path / 'truth' / f'{name}.png'), values)
    for path in out.rglob('config.py'):
        path.write_text(config.replace("LoadAnnotations'", "LoadAnnotations', 'ignore_value': 9"))
    (scene,) = pictures.gallery(out, moved, records.of(CELL), CELL, rows).disputed[:1]
    label, errors = (
        cv2.imdecode(np.frombuffer(base64.b64decode(picture.data.split(',')[1]), np.uint8), 1)
        for picture in scene.pictures[2:4]
    )
    assert (label[ignored] == 128).all()
    assert (errors[ignored] == 0).all()
    assert set(np.unique(label[~ignored])) <= {0, 255}


def test_a_method_without_probabilities_is_named(tmp_path, board):
    spec, records = spec_of(board), records_of(board)
    rows = summarise(spec, records)[CELL]
    folder = tmp_path / 'runs/demo/from-scratch/hsonet_lite'
    folder.parent.mkdir(parents=True)
    folder.symlink_to(board.out / 'runs/demo/from-scratch/hsonet_lite')
    album = pictures.gallery(tmp_path, spec, records.of(CELL), CELL, rows)
    assert album.disputed == []
    assert [method for method, _ in album.worst] == ['hsonet_lite']
    assert album.missing == 'there are no probabilities of ussfc_net, tinycd'
