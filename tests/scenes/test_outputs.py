"""What can be wrong with a result: one sentence, nothing under the final name, and a way to go on."""

import errno
import os

import numpy as np
import pytest
from helpers import difference
from helpers import fake_detector as fake

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

from made_up_scene import OPTIONS, write

from hsonet_mm.errors import UserError
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize('change', ['removed', 'replaced'])
def test_file_that_changes_while_it_is_read(tmp_path, pair, change):
    def probs(t1, _, **__):
        if change == 'removed':
            pair[1].unlink(missing_ok=True)
        else:
            os.utime(pair[1], (1, 1))
        return np.zeros(t1.shape[:3], np.float32)

    with pytest.raises(UserError, match=r'after\.tif was changed or removed while it was read'):
        detect_scene(fake(probs), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
    assert {path.name for path in tmp_path.glob('out/*')} <= {'.change.tif.part'}


@pytest.mark.parametrize('value', [np.nan, -0.1, 1.5])
def test_model_that_predicts_no_probabilities(tmp_path, pair, value):
    def probs(t1, _, **__):
        return np.full(t1.shape[:3], value, np.float32)

    with pytest.raises(UserError, match='the model predicts values that are not probabilities'):
        detect_scene(fake(probs), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
    assert not (tmp_path / 'out').exists()


def test_polygons_in_degrees_of_what_is_nowhere(tmp_path):
    path = write(tmp_path / 'site.tif', crs='LOCAL_CS["site",UNIT["foot",0.3048]]')
    output = tmp_path / 'out' / 'change.tif'
    with pytest.raises(UserError, match=r'site\.tif has a local coordinate system, .* use --polygons gpkg'):
        detect_scene(fake(), path, path, output, SceneOptions(tile=128, overlap=64, polygons='geojson'))
    assert not output.parent.exists()
    assert detect_scene(fake(), path, path, output, OPTIONS).summary['valid_pixels'] == 90_000


class TestBadOutputs:
    @pytest.mark.parametrize('name', ['change.png', 'change'])
    def test_other_format(self, tmp_path, pair, name):
        with pytest.raises(UserError, match=r'ends in \.tif'):
            detect_scene(fake(), *pair, tmp_path / name, OPTIONS)

    def test_folder_of_that_name(self, tmp_path, pair):
        (tmp_path / 'change.gpkg').mkdir()
        with pytest.raises(UserError, match=r'change\.gpkg is a folder'):
            detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)

    @pytest.mark.parametrize('other', ['c.tiff', 'c.TIF'])
    def test_another_suffix_of_an_earlier_result(self, tmp_path, pair, other):
        """Mask, polygons and summary would be replaced, and the probabilities stay."""
        detect_scene(fake(), *pair, tmp_path / 'c.tif', OPTIONS)
        before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        with pytest.raises(
            UserError, match=r'^c\.json is the summary of .*c\.tif: give another name with -o'
        ):
            detect_scene(fake(), *pair, tmp_path / other, OPTIONS)
        assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
        (tmp_path / 'c.tif').unlink()
        detect_scene(fake(), *pair, tmp_path / other, OPTIONS)

    @pytest.mark.parametrize('name', ['c_mask.tif', 'c.gpkg', 'c.json'])
    def test_files_of_no_result_stay(self, tmp_path, pair, name):
        (tmp_path / name).write_text('{"mine": 1}')
        with pytest.raises(UserError, match=rf'{name} exists and belongs to no result: .*, or delete it$'):
            detect_scene(fake(), *pair, tmp_path / 'c.tif', OPTIONS)
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]
        assert (tmp_path / name).read_text() == '{"mine": 1}'

    def test_files_that_an_interrupted_run_moved_out_are_replaced(self, tmp_path, pair):
        (tmp_path / '.c.tif.part').mkdir()
        (tmp_path / 'c_mask.tif').touch()
        files = detect_scene(fake(), *pair, tmp_path / 'c.tif', OPTIONS).files
        assert files['mask'].stat().st_size > 0

    def test_over_an_input(self, pair):
        with pytest.raises(UserError, match='would overwrite'):
            detect_scene(fake(), *pair, pair[1].parent / 'x' / '..' / 'after.tif', OPTIONS)

    def test_input_that_is_named_as_old_polygons_stays(self, tmp_path, pair):
        date = pair[1].rename(tmp_path / 'change.gpkg')
        before = date.read_bytes()
        detect_scene(fake(), pair[0], date, tmp_path / 'change.tif', SceneOptions(polygons='none'))
        assert date.read_bytes() == before

    def test_place_that_cannot_be_written(self, tmp_path, pair):
        (tmp_path / 'file').touch()
        with pytest.raises(
            UserError, match=r'file cannot be created \((File exists|Not a directory)\): name another place$'
        ):
            detect_scene(fake(), *pair, tmp_path / 'file' / 'change.tif', OPTIONS)

    def test_read_only_folder(self, tmp_path, pair, monkeypatch):
        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, 'Permission denied')

        monkeypatch.setattr('pathlib.Path.mkdir', refuse)
        with pytest.raises(UserError, match=r'^no permission to write .*: correct its permissions, or'):
            detect_scene(fake(), *pair, tmp_path / 'change.tif', OPTIONS)

    def test_files_that_may_not_be_so_large(self, tmp_path, pair):
        resource = pytest.importorskip('resource')
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            with pytest.raises(
                UserError,
                match=r'out cannot be written \(File too large\): make room for it, or name another',
            ) as caught:
                detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not (tmp_path / 'out').exists()
        assert caught  # the error is still there, as in a notebook, and locks nothing
        detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)

    @pytest.mark.parametrize('when', ['cells', 'polygons', 'results'])
    def test_full_disk_and_going_on_after_it(self, tmp_path, pair, monkeypatch, when):
        """The sentence, nothing under the final name; with room on the disk the command goes on."""
        output = tmp_path / 'out' / 'change.tif'

        def full(*_, **__):
            raise OSError(errno.ENOSPC, 'No space left on device')

        place = {
            'cells': 'hsonet_mm.scenes.job._write',
            'polygons': 'hsonet_mm.scenes.vectors._write_gpkg',
            'results': 'hsonet_mm.scenes.outputs._vrt',
        }[when]
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            with pytest.raises(UserError, match=r'cannot be written \(No space left on device\): make room'):
                detect_scene(fake(), *pair, output, OPTIONS)
        assert [path.name for path in output.parent.iterdir()] == ['.change.tif.part']
        seen = []
        detector = fake()
        detector.probs = lambda a, b, **_: seen.append(len(a)) or difference(a, b)
        result = detect_scene(detector, *pair, output, OPTIONS)
        assert bool(seen) == (when == 'cells')
        assert sorted(output.parent.iterdir()) == sorted(result.files.values())

    def test_disk_that_is_full_for_gdal(self, tmp_path, pair):
        """A limit on the size of files stands for it."""
        resource = pytest.importorskip('resource')
        noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), dtype=np.uint8)
        write(pair[1], noise)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        original = __import__('hsonet_mm.scenes.scene', fromlist=['_']).write_geotiff

        def limited(*args):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
            try:
                return original(*args)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('hsonet_mm.scenes.scene.write_geotiff', limited)
            with pytest.raises(UserError, match='cannot be written'):
                detect_scene(fake(), *pair, tmp_path / 'out' / 'change.tif', OPTIONS)
        assert [path.name for path in (tmp_path / 'out').iterdir()] == ['.change.tif.part']
