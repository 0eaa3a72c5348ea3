"""Prediction from files: what is written, and what bad input leads to."""

import errno
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from made_up_models import image, load, make_models
from PIL import Image

from hsonet_mm.cli import main
from hsonet_mm.commands.predict import predict_paths
from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.inference.pairs import draw_overlay


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    return make_models(tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def detector(models):
    return load(*models['hsonet'])


@pytest.fixture
def folders(tmp_path):
    for date in ('A', 'B'):
        (tmp_path / date).mkdir()
        for index in range(3):
            cv2.imwrite(str(tmp_path / date / f'{index}.png'), image(10 * index + ord(date)))
    return tmp_path / 'A', tmp_path / 'B', tmp_path / 'out'


def read(path):
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None, path
    return found


def test_folders(detector, folders, capsys):
    t1, t2, out = folders
    cv2.imwrite(str(t2 / '1.jpg'), read(t2 / '1.png'))
    (t2 / '1.png').unlink()  # endings may differ
    (t1 / 'notes.txt').write_text('not an image')
    summary = predict_paths(detector, t1, t2, out, progress=True)
    kinds = ('mask', 'overlay', 'prob')
    assert sorted(path.name for path in out.iterdir()) == [
        f'{n}_{kind}.png' for n in range(3) for kind in kinds
    ]
    prediction = detector.predict(read(t1 / '0.png'), read(t2 / '0.png'), channel_order='bgr')
    mask, prob, overlay = (read(out / f'0_{kind}.png') for kind in ('mask', 'prob', 'overlay'))
    assert mask.dtype == prob.dtype == np.uint8
    assert mask.shape == prob.shape == (50, 70)
    np.testing.assert_array_equal(mask, prediction.mask * 255)
    assert abs(prob / 255 - prediction.probs).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(overlay, draw_overlay(read(t2 / '0.png'), prediction.mask))
    changed = sum(int((read(out / f'{n}_mask.png') == 255).sum()) for n in range(3))
    assert (summary.pairs, summary.changed, summary.pixels) == (3, changed, 3 * 50 * 70)
    assert summary.changed_share == changed / (3 * 50 * 70)
    assert summary.failures == summary.warnings == ()
    assert capsys.readouterr().err == ''  # progress is for terminals


def test_two_images_are_named_after_the_second(detector, folders):
    t1, t2, out = folders
    assert predict_paths(detector, t1 / '0.png', t2 / '1.png', out).pairs == 1
    assert sorted(path.name for path in out.iterdir()) == ['1_mask.png', '1_overlay.png', '1_prob.png']


def test_results_are_replaced(detector, folders):
    t1, t2, out = folders
    out.mkdir()
    (out / '0_mask.png').write_bytes(b'old')
    predict_paths(detector, t1, t2, out)
    assert read(out / '0_mask.png').shape == (50, 70)


def test_a_full_disk_ends_the_run(detector, folders, monkeypatch):
    t1, t2, out = folders
    tried = []

    def full(self, data):  # noqa: ARG001
        tried.append(self)
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(pathlib.Path, 'write_bytes', full)
    with pytest.raises(UserError, match=r'0_mask.png cannot be written \(No space left on device\)'):
        predict_paths(detector, t1, t2, out, progress=True)
    assert len(tried) == 1
    assert not out.exists()


def test_results_of_a_pair_are_all_written_or_none(detector, folders, monkeypatch):
    t1, t2, out = folders
    write = pathlib.Path.write_bytes

    def nearly_full(self, data):
        if '_overlay' in self.name:
            raise OSError(errno.EFBIG, 'File too large')
        return write(self, data)

    monkeypatch.setattr(pathlib.Path, 'write_bytes', nearly_full)
    with pytest.raises(UserError, match=r'0_overlay.png cannot be written \(File too large\): make room'):
        predict_paths(detector, t1, t2, out)
    assert not out.exists()


def test_overlay_marks_only_changed_regions():
    base = image(3)
    mask = np.zeros(base.shape[:2], bool)
    mask[10:20, 30:50] = True
    overlay = draw_overlay(base, mask)
    np.testing.assert_array_equal(overlay[~mask], base[~mask])
    assert (overlay[mask] != base[mask]).any(axis=1).mean() > 0.9
    assert (overlay[10, 30] == overlay[19, 49]).all()  # outlined
    np.testing.assert_array_equal(draw_overlay(base, np.zeros_like(mask)), base)


def test_large_images_slide_by_themselves(models, folders, monkeypatch, capsys):
    monkeypatch.setattr('hsonet_mm.inference.window_choice.WHOLE_PIXELS', 50 * 70)
    detector, sliding = load(*models['hsonet']), load(*models['hsonet'], window='slide')
    largest, larger = (image(1), image(2)), (image(1, 50, 71), image(2, 50, 71))
    whole = load(*models['hsonet'], window='whole')
    np.testing.assert_array_equal(
        detector.predict(*largest, channel_order='bgr').probs,
        whole.predict(*largest, channel_order='bgr').probs,
    )
    np.testing.assert_array_equal(
        detector.predict(*larger, channel_order='bgr').probs,
        sliding.predict(*larger, channel_order='bgr').probs,
    )
    t1, t2, out = folders
    for date, seed in ((t1, 1), (t2, 2)):
        cv2.imwrite(str(date / '2.png'), image(seed, 60, 80))
    assert main(['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out)]) == 0
    assert '1 of 3 in sliding windows of 512 x 512 pixels that share 128' in capsys.readouterr().out


def test_a_bad_pair_does_not_stop_the_others(detector, folders):
    t1, t2, out = folders
    (t1 / '0.png').write_bytes((t1 / '0.png').read_bytes()[:-300])
    cv2.imwrite(str(t2 / '1.png'), image(1, 40, 70))
    summary = predict_paths(detector, t1, t2, out)
    assert (summary.pairs, len(summary.failures)) == (1, 2)
    assert str(t1 / '0.png') in summary.failures[0]
    assert '70 x 50' in summary.failures[1]
    assert '70 x 40' in summary.failures[1]
    assert {path.name[0] for path in out.iterdir()} == {'2'}


def test_one_colour_is_a_warning(detector, folders):
    t1, t2, out = folders
    cv2.imwrite(str(t2 / '1.png'), np.full((50, 70, 3), (0, 5, 9), np.uint8))
    summary = predict_paths(detector, t1, t2, out)
    assert summary.pairs == 3
    assert [str(t2 / '1.png') in sentence for sentence in summary.warnings] == [True]


BAD_IMAGES = {
    'truncated': lambda path: path.write_bytes(path.read_bytes()[:-300]),
    'empty': lambda path: path.write_bytes(b''),
    'text': lambda path: path.write_text('hello'),
    'sizes': lambda path: cv2.imwrite(str(path), image(1, 50, 71)),
    'sixteen bits': lambda path: cv2.imwrite(str(path), image(1).astype(np.uint16) * 200),
}


@pytest.mark.parametrize('kind', BAD_IMAGES)
def test_bad_image(detector, folders, kind):
    t1, t2, out = folders
    path = t2 / '1.png'
    BAD_IMAGES[kind](path)
    with pytest.raises(UserError, match=str(path)):
        predict_paths(detector, t1 / '1.png', path, out / 'new')
    assert not out.exists()


def test_no_folder_is_left_where_no_pair_can_be_predicted(detector, folders):
    t1, t2, out = folders
    for path in t1.iterdir():
        path.write_bytes(b'')
    assert len(predict_paths(detector, t1, t2, out).failures) == 3
    assert not out.exists()
    out.mkdir()  # the user's own stays
    predict_paths(detector, t1, t2, out)
    assert list(out.iterdir()) == []


def test_paths_that_do_not_match(detector, folders, tmp_path):
    t1, t2, out = folders
    (tmp_path / 'none').mkdir()
    (t1 / '7.png').write_bytes((t1 / '0.png').read_bytes())
    (t2 / '8.jpg').write_bytes((t1 / '0.png').read_bytes())
    (tmp_path / 'file').write_text('')
    for first, second, target, sentence in [
        (t1 / 'x.png', t2, out, 'x.png does not exist'),
        (t1 / '0.png', t2, out, 'a folder and a file'),
        (tmp_path / 'none', t2, out, 'contains no image'),
        (t1, t2, out, '7.png and 1 more have no image'),
        (t1, t1, t1, 'with --out'),
        (t1, t1, tmp_path / 'file', 'name another place'),
    ]:
        with pytest.raises(UserError, match=sentence):
            predict_paths(detector, first, second, target)
    (t2 / '8.png').write_bytes(b'')
    with pytest.raises(UserError, match='have one name'):
        predict_paths(detector, t1, t2, out)
    assert not out.exists()


def test_names_that_only_scenes_open(detector, folders):
    t1, _, out = folders
    for name in ('/vsizip/a.zip/a.tif', 'https://host/a.tif'):
        with pytest.raises(UserError, match=r'is not a file on this machine: .*hsonet scene'):
            predict_paths(detector, name, t1 / '0.png', out)


def test_a_pipe_is_refused(detector, folders):
    t1, _, out = folders
    os.mkfifo(t1 / 'pipe.png')
    with pytest.raises(UserError, match=r'pipe\.png is a pipe or a device: give two images'):
        predict_paths(detector, t1 / 'pipe.png', t1 / '0.png', out)


def test_share_without_data_is_told(models, folders, capsys):
    t1, t2, out = folders
    picture = np.full((50, 70, 4), 255, np.uint8)
    picture[:10, ..., 3] = 0
    cv2.imwrite(str(t1 / '0.png'), picture)
    command = ['predict', *map(str, models['hsonet']), str(t1 / '0.png'), str(t2 / '0.png'), '-o', str(out)]
    assert main([*command, '--threshold', '0.3']) == 0
    assert 'at threshold 0.3 (given), 20.00% of all have no data, see ' in capsys.readouterr().out


def test_nodata_that_no_pixel_can_have(models, folders):
    t1, t2, out = folders
    detector = load(*models['hsonet'], reading=Reading.make(nodata=300))
    with pytest.raises(
        UserError, match=r'^invalid --nodata 300: expected a whole number from 0 to 255, as .*png has'
    ):
        predict_paths(detector, t1 / '0.png', t2 / '0.png', out)


def test_folders_below_are_told(detector, folders):
    t1, t2, out = folders
    for folder in (t1 / 'below', t2 / 'below', t1 / '.hidden', t1 / 'empty', t1 / 'out'):
        folder.mkdir()
    for folder in (t1 / 'below', t1 / '.hidden', t1 / 'out'):
        (folder / '9.png').write_bytes((t1 / '0.png').read_bytes())
    summary = predict_paths(detector, t1, t2, t1 / 'out')
    told = [text for text in summary.warnings if 'subfolders' in text]
    assert told == [f'{t1 / "below"}: images in subfolders are not predicted: give each folder']
    (t1 / 'only').mkdir()
    (t1 / 'below').rename(t1 / 'only/below')
    with pytest.raises(UserError, match=r'only contains no image .*, such as .*only/below$'):
        predict_paths(detector, t1 / 'only', t2, out)


def test_a_broken_link_is_a_failed_pair(detector, folders):
    t1, t2, out = folders
    count = predict_paths(detector, t1, t2, out).pairs
    for folder in (t1, t2):
        (folder / 'link.png').symlink_to(folder / 'gone.png')
    summary = predict_paths(detector, t1, t2, out)
    assert summary.pairs == count
    assert len(summary.failures) == 1
    assert 'link.png does not exist' in summary.failures[0]


def test_a_folder_below_that_cannot_be_read_is_passed_over(detector, folders, monkeypatch):
    t1, t2, out = folders
    (t1 / 'locked').mkdir()
    iterdir = pathlib.Path.iterdir

    def refuse(path):
        if path.name == 'locked':
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return iterdir(path)

    monkeypatch.setattr(pathlib.Path, 'iterdir', refuse)
    summary = predict_paths(detector, t1, t2, out)
    assert (summary.pairs, summary.warnings) == (3, ())


def test_images_of_every_kind_count(detector, folders):
    """What a single file may be, a file of a folder may be as well."""
    t1, t2, out = folders
    image = Image.open(t1 / '0.png').convert('RGB')
    for folder in (t1, t2):
        for suffix in ('gif', 'WEBP', 'jp2'):
            image.convert('P' if suffix == 'gif' else 'RGB').save(folder / f'kind {suffix}.{suffix}')
    predict_paths(detector, t1, t2, out)
    assert {path.name for path in out.glob('kind*_mask.png')} == {
        f'kind {suffix}_mask.png' for suffix in ('gif', 'WEBP', 'jp2')
    }


def test_only_the_valid_pixels_of_an_earlier_result_are_removed(detector, folders):
    t1, t2, out = folders
    out.mkdir()
    valid = out / '0_valid.png'
    valid.write_bytes(b'mine')
    predict_paths(detector, t1 / '0.png', t2 / '0.png', out)
    assert valid.read_bytes() == b'mine'
    predict_paths(detector, t1 / '0.png', t2 / '0.png', out)  # now there is an earlier result
    assert not valid.exists()


def test_inputs_are_never_overwritten(detector, folders):
    t1, _, _ = folders
    target = t1 / 'b_mask.png'
    target.write_bytes((t1 / '0.png').read_bytes())
    (t1 / 'b.png').write_bytes((t1 / '0.png').read_bytes())
    before = target.read_bytes()
    with pytest.raises(UserError, match=r'b_mask\.png is an image that the result would overwrite'):
        predict_paths(detector, target, t1 / 'b.png', t1)
    assert target.read_bytes() == before
    target = target.rename(t1 / 'b_valid.png')  # which is not written where all pixels are valid
    with pytest.raises(UserError, match=r'b_valid\.png is an image that the result would overwrite'):
        predict_paths(detector, target, t1 / 'b.png', t1)
    assert target.read_bytes() == before
    with pytest.raises(UserError, match=r'0\.png is an image: give a folder'):
        predict_paths(detector, t1 / '0.png', t1 / 'b.png', t1 / '0.png')


def test_one_image_for_both_dates_is_told(detector, folders):
    t1, _, out = folders
    for first in (t1, t1 / '0.png'):
        assert predict_paths(detector, first, first, out).warnings[0] == f'{first} is given for both dates'


def test_command(models, folders, capsys):
    t1, t2, out = folders
    command = ['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out)]
    assert main([*command, '--cfg-options', 'model.decode_head.threshold=0.45']) == 0
    share = np.mean([read(out / f'{n}_mask.png') == 255 for n in range(3)])
    assert (
        capsys.readouterr().out.strip().splitlines()[-1]
        == f"3 pairs predicted, {share:.2%} of the pixels changed at threshold 0.45 (the model's own), see {out}"
    )
    options = ['--threshold', '0.3', '--mode', 'slide', '--crop', '32', '--stride', '16']
    cv2.imwrite(str(t1 / '2.png'), np.zeros((50, 70), np.uint8))
    (t2 / '1.png').write_bytes(b'')
    second = {name: (t2 / name).read_bytes() for name in ('0.png', '2.png')}
    assert main(command + options) == 1
    output = capsys.readouterr()
    windows, last = output.out.strip().splitlines()
    assert windows.startswith('2 of 2 in sliding windows of 32 x 32 pixels that share 16 (--mode whole')
    assert last.startswith('2 pairs predicted, 1 failed, ')
    assert 'at threshold 0.3 (given), ' in output.out
    assert f'warning: {t1 / "2.png"} is all one colour' in output.err
    assert f'error: {t2 / "1.png"}' in output.err
    for name in ('0.png', '2.png'):
        (t2 / name).write_bytes(b'')
    assert main(command) == 1
    assert capsys.readouterr().out == '0 pairs predicted, 3 failed\n'
    for name in ('0.png', '2.png'):
        (t2 / name).write_bytes(second[name])
    expected = load(*models['hsonet'], threshold=0.3, window=(32, 16)).predict(
        read(t1 / '0.png'), read(t2 / '0.png'), channel_order='bgr'
    )
    np.testing.assert_array_equal(read(out / '0_mask.png'), expected.mask * 255)
    assert main([*command, '--threshold', '1.5']) == 2
    assert capsys.readouterr().err.count('\n') == 1


@pytest.mark.parametrize(
    ('options', 'window'),
    [
        ([], None),
        (['--mode', 'whole'], 'whole'),
        (['--mode', 'slide'], 'slide'),
        (['--crop', '320'], (320, None)),
        (['--stride', '64'], (None, 64)),
    ],
)
def test_crop_and_stride_are_a_sliding_window(options, window, models, folders, monkeypatch):
    opened = []

    def stop(*_, **settings):
        opened.append(settings['window'])
        raise UserError('enough')

    monkeypatch.setattr('hsonet_mm.commands.predict.open_detector', stop)
    t1, t2, out = folders
    assert main(['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out), *options]) == 2
    assert opened == [window]


@pytest.mark.parametrize(
    ('options', 'kinds'), [(['--tta', 'flips'], ['flips']), (['--tta'], ['flips', 'rotations', 'swap'])]
)
def test_views_are_averaged(options, kinds, models, folders, capsys):
    t1, t2, out = (path / '0.png' for path in folders)
    command = ['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out.parent)]
    assert main([*command, *options]) == 0
    probs = load(*models['hsonet'], tta=kinds).predict(t1, t2).probs
    np.testing.assert_array_equal(read(out.parent / '0_prob.png'), (255 * probs).round())
    with pytest.raises(SystemExit, match='2'):
        main([*command, '--tta', 'zoom'])
    assert "invalid choice: 'zoom'" in capsys.readouterr().err


def test_whole_images_have_no_window(models, folders, capsys):
    t1, t2, out = folders
    command = ['predict', *map(str, models['hsonet']), str(t1), str(t2), '--out', str(out)]
    assert main([*command, '--mode', 'whole', '--stride', '64']) == 2
    assert capsys.readouterr().err.startswith('error: --crop and --stride require --mode slide')


def test_tool(models, folders):
    t1, t2, out = folders
    tool = pathlib.Path(__file__).parents[2] / 'tools' / 'predict.py'
    arguments = [*models['fcn'], t1 / '0.png', t2 / '0.png', '--out', out]
    done = subprocess.run(
        [sys.executable, tool, *arguments],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith('1 pair predicted, ')
    assert len(list(out.iterdir())) == 3
