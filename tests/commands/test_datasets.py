"""Mistakes in data: one sentence that names file and cure, an exit code, and nothing half-written."""

import json

import cv2
import numpy as np
import pytest

PIPELINE = 'train_dataloader.dataset.pipeline'


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_pair_without_its_other_date(data, config, refuse):
    (data / 'train/B/2.png').unlink()
    refuse('train', config(), '--data-root', data, naming=[data / 'train/B', '(2)', 'add the missing files'])


def test_pair_without_its_label(data, config, refuse, checkpoint):
    (data / 'test/label/1.png').unlink()
    args = (config(), checkpoint, '--data-root', data, '--out', data.parent / 'scores.json')
    refuse('test', *args, naming=[data / 'test/label', '(1)'])


DATES = {'_delete_': True, 'img_path_from': 'test/A', 'img_path_to': 'test/B'}
UNLABELLED = [{'type': 'hsonet_mm.MultiImgLoadImageFromFile'}, {'type': 'MultiImgPackSegInputs'}]


@pytest.mark.parametrize(
    'changes', [{'data_prefix': DATES}, {'pipeline': UNLABELLED}], ids=['files', 'pipeline']
)
def test_split_without_labels(changes, data, config, refuse, checkpoint):
    path = config({f'test_dataloader.dataset.{key}': value for key, value in changes.items()})
    naming = [data / 'test/A/0.png', 'has no label: give seg_map_path', 'hsonet predict']
    refuse('test', path, checkpoint, '--data-root', data, naming=naming)


def test_missing_date_in_prediction(data, config, refuse, checkpoint):
    (data / 'test/A/1.png').unlink()
    folders = (data / 'test/A', data / 'test/B')
    refuse('predict', config(), checkpoint, *folders, naming=[data / 'test/B/1.png', 'add it'])


@pytest.mark.parametrize('workers', [0, 1])
def test_sizes_differ(data, config, refuse, workers):
    """Also from within a worker of the data loader."""
    for path in (data / 'train/B').iterdir():
        cv2.imwrite(str(path), np.zeros((64, 60, 3), np.uint8))
    sentence = refuse(
        'train', config({'train_dataloader.num_workers': workers}), '--data-root', data,
        naming=['the sizes of a pair differ', data / 'train/A', data / 'train/B', '64 x 60', 'one grid'],
    )  # fmt: skip
    assert 'worker' not in sentence


def test_sizes_differ_in_test(data, config, refuse, checkpoint):
    cv2.imwrite(str(data / 'test/B/0.png'), np.zeros((80, 270, 3), np.uint8))
    refuse('test', config(), checkpoint, '--data-root', data, '--out', data.parent / 'scores.json',
           naming=[data / 'test/B/0.png', '80 x 270'])  # fmt: skip


def test_sizes_differ_in_prediction(data, config, refuse, checkpoint):
    refuse('predict', config(), checkpoint, data / 'test/A/0.png', data / 'test/B/1.png',
           naming=[data / 'test/A/0.png', data / 'test/B/1.png', '272 x 80', 'same area and size'])  # fmt: skip


def test_label_of_another_size(data, config, refuse):
    for path in (data / 'train/label').iterdir():
        cv2.imwrite(str(path), np.zeros((32, 32), np.uint8))
    refuse('train', config(), '--data-root', data, naming=[data / 'train/label', '32 x 32', '64 x 64'])


@pytest.mark.parametrize(('kind', 'workers'), [('B', 1), ('label', 0)])
def test_truncated_png(data, config, refuse, kind, workers):
    for path in (data / 'train' / kind).iterdir():
        truncate(path)
    changes = {'train_dataloader.num_workers': workers}
    refuse('train', config(changes), '--data-root', data, naming=[data / 'train' / kind, 'replace it'])


def test_truncated_png_in_test_and_prediction(data, config, refuse, checkpoint):
    truncate(data / 'test/A/0.png')
    args = ('--data-root', data, '--out', data.parent / 'scores.json')
    refuse('test', config(), checkpoint, *args, naming=[data / 'test/A/0.png', 'replace it'])
    pair = (data / 'test/A/0.png', data / 'test/B/0.png')
    refuse('predict', config(), checkpoint, *pair, naming=[data / 'test/A/0.png', 'replace it'])


def test_labels_0_1_equal_labels_0_255(data, config, hsonet, tmp_path, checkpoint):
    reports = []
    for name, factor in {'255': 1, '1': 255}.items():
        for path in data.glob('*/label/*'):  # one coding for all splits
            cv2.imwrite(str(path), cv2.imread(str(path), 0) // factor)
        out = tmp_path / f'{name}.json'
        args = ('--data-root', data, '--out', out, '--work-dir', tmp_path / name)
        code, _, stderr = hsonet('test', config(), checkpoint, *args)
        assert code == 0, stderr
        reports.append(out.read_text())
    assert reports[0] == reports[1]


def test_jpeg_labels_warn(data, config, hsonet, tmp_path, checkpoint):
    """Compression noise is cut at 128 with a warning, and costs next to no pixel."""
    changed = 0
    for path in (data / 'test/label').iterdir():
        label = cv2.imread(str(path), 0)
        changed += int((label == 255).sum())
        cv2.imwrite(str(path.with_suffix('.jpg')), label, [cv2.IMWRITE_JPEG_QUALITY, 85])
        path.unlink()
    out = tmp_path / 'scores.json'
    args = ('--data-root', data, '--out', out, '--work-dir', tmp_path / 'work', '--threshold', 0.5)
    code, stdout, stderr = hsonet('test', config(), checkpoint, *args)
    assert code == 0, stderr
    (warning,) = [line for line in stdout.splitlines() if 'JPEG compression' in line]
    assert 'WARNING' in warning
    assert f'{data}: labels' in warning
    counts = json.loads(out.read_text())['counts']
    assert counts['tp'] + counts['fn'] == pytest.approx(changed, rel=0.01)


def test_three_channel_labels(data, config, refuse, hsonet, tmp_path):
    """Grey in three channels is fine, colours are not."""
    for path in (data / 'train/label').iterdir():
        cv2.imwrite(str(path), cv2.cvtColor(cv2.imread(str(path), 0), cv2.COLOR_GRAY2BGR))
    args = ('--data-root', data, '--work-dir', tmp_path / 'fine')
    assert hsonet('train', config(), *args)[0] == 0
    for path in (data / 'train/label').iterdir():
        label = cv2.imread(str(path))
        label[..., 0] = 0
        cv2.imwrite(str(path), label)
    refuse('train', config(), '--data-root', data, naming=[data / 'train/label', 'colour image', 'write it'])


def test_labels_of_many_classes(data, config, refuse):
    for path in (data / 'train/label').iterdir():
        cv2.imwrite(str(path), np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 7)
    refuse(
        'train',
        config(),
        '--data-root',
        data,
        naming=[data / 'train/label', '0, 1, 2, 3, 4 and more up to 6', 'write 0 for unchanged'],
    )


@pytest.mark.parametrize('command', ['train', 'test'])
def test_empty_split(data, config, refuse, checkpoint, command):
    for path in data.glob(f'{command}/*/*'):
        path.unlink()
    args = (config(),) if command == 'train' else (config(), checkpoint)
    refuse(command, *args, '--data-root', data, naming=[data / command / 'A', 'no image'])


@pytest.mark.parametrize('command', ['train', 'test'])
def test_missing_data_root(config, refuse, checkpoint, command, tmp_path):
    args = (config(),) if command == 'train' else (config(), checkpoint)
    refuse(command, *args, '--data-root', tmp_path / 'nowhere', naming=[tmp_path / 'nowhere', '--data-root'])
    assert not (tmp_path / 'work').exists()


def test_missing_data_root_of_a_shipped_config(repo, refuse, monkeypatch, tmp_path):
    """The environment variable that holds it is named."""
    monkeypatch.setenv('LEVIR_CD_ROOT', str(tmp_path / 'nowhere'))
    args = (repo / 'configs/hsonet_lite_levir.py', '--cfg-options', 'model.backbone.init_cfg=None')
    refuse('train', *args, naming=[tmp_path / 'nowhere', '--data-root', 'LEVIR_CD_ROOT'])


@pytest.mark.parametrize('workers', [0, 1])
def test_crop_larger_than_the_image(config, refuse, tiny_data, workers):
    options = ('--cfg-options', f'{PIPELINE}.2.crop_size=96', f'train_dataloader.num_workers={workers}')
    refuse('train', config(), *options, naming=['96 x 96', tiny_data / 'train/A', '64 x 64', 'smaller crop'])
