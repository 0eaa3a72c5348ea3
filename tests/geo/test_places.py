"""Rasters that are no files of their own: names that GDAL opens, longitudes after a turn, another PROJ."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import fake_detector

pytest.importorskip('rasterio')
pytest.importorskip('pyogrio')

import json

import rasterio
from rasterio.errors import CRSError
from rasterio.transform import from_origin

from hsonet_mm.cli import main
from hsonet_mm.errors import UserError
from hsonet_mm.geo.places import RemoteRaster, raster_path
from hsonet_mm.images import ground
from hsonet_mm.scenes.listing import read_list
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene
from hsonet_mm.windows import Window

pytestmark = pytest.mark.any_host

FAKE = fake_detector(window=Window(64, 32))
OPTIONS = SceneOptions(polygons='geojson', min_area=0, float32=True)


def write(path, changed, crs='EPSG:32633', transform=None, height=96, width=96):
    """Grey, with a white box of 20 x 30 at row 10, column 40 where it changed."""
    image = np.full((3, height, width), 100, np.uint8)
    image[:, 10:30, 40:70] = 255 if changed else 0
    transform = transform or from_origin(500_000, 5_000_000, 1, 1)
    profile = {
        'count': 3,
        'height': height,
        'width': width,
        'dtype': 'uint8',
        'crs': crs,
        'transform': transform,
    }
    with rasterio.open(path, 'w', driver='GTiff', photometric='RGB', **profile) as dataset:
        dataset.write(image)
    return path


def mask_of(result):
    with rasterio.open(result.files['mask']) as dataset:
        return dataset.read(1)


def is_the_box(mask):
    expected = np.zeros((96, 96), np.uint8)
    expected[10:30, 40:70] = 1
    np.testing.assert_array_equal(mask, expected)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves the folder; its address."""
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    monkeypatch.setenv('no_proxy', '127.0.0.1')

    # A process of its own: GDAL may wait for it while it holds the interpreter.
    command = [
        sys.executable,
        '-u',
        '-m',
        'http.server',
        '0',
        '--bind',
        '127.0.0.1',
        '--directory',
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = re.search(r'port (\d+)', process.stdout.readline())[1]
        yield f'http://127.0.0.1:{port}'
        process.kill()


@pytest.mark.parametrize(
    ('name', 'kind', 'stem'),
    [
        ('a/before.tif', Path, 'before'),
        ('C:\\data\\before.tif', Path, None),
        ('/vsi/before.tif', Path, 'before'),  # a folder of that name
        ('file:///data/be%20fore.tif', Path, 'be fore'),
        ('https://host/path/before.tif?token=a/b', RemoteRaster, 'before'),
        ('s3://bucket/2019/before.tif', RemoteRaster, 'before'),
        ('/vsicurl/https://host/before%20all.tif', RemoteRaster, 'before all'),
        ('/vsizip/archive.zip/in/before.tif', RemoteRaster, 'before'),
    ],
)
def test_names(name, kind, stem):
    place = raster_path(name)
    assert isinstance(place, kind)
    assert stem is None or place.stem == stem
    if kind is RemoteRaster:
        assert str(place) == name


def test_on_a_server_and_in_an_archive(tmp_path, server):
    before, after = write(tmp_path / 'before.tif', False), write(tmp_path / 'after.tif', True)
    with zipfile.ZipFile(tmp_path / 'both.zip', 'w') as archive:
        archive.write(before, 'in/before.tif')
        archive.write(after, 'in/after.tif')
    for kind, place in (
        ('http', server),
        ('curl', f'/vsicurl/{server}'),
        ('zip', f'/vsizip/{tmp_path}/both.zip/in'),
    ):
        output = tmp_path / f'{kind}.tif'
        names = f'{place}/before.tif', f'{place}/after.tif'
        result = detect_scene(FAKE, *names, output, OPTIONS)
        is_the_box(mask_of(result))
        assert result.summary['before'] == {'name': 'before', 'file': names[0]}
        # whether a file on a server has changed is not known; that of an archive is
        assert detect_scene(FAKE, *names, output, OPTIONS).fresh == (kind != 'zip')


@pytest.mark.parametrize('suffix', ['.zip', '.ZIP'])
def test_the_only_raster_of_a_zip_file(tmp_path, suffix):
    for name, changed in (('before', False), ('after', True)):
        path = write(tmp_path / f'{name}.tif', changed)
        with zipfile.ZipFile(tmp_path / f'{name}{suffix}', 'w') as archive:
            archive.write(path, f'in it/{name}.tif')
            archive.writestr(f'__MACOSX/in it/._{name}.tif', '')
            archive.writestr('metadata.xml', '')
        path.unlink()
    dates = tmp_path / f'before{suffix}', tmp_path / f'after{suffix}'
    result = detect_scene(FAKE, *dates, tmp_path / 'change.tif', OPTIONS)
    is_the_box(mask_of(result))
    assert result.summary['after']['file'] == f'/vsizip/{dates[1]}/in it/after.tif'
    assert not detect_scene(FAKE, *dates, tmp_path / 'change.tif', OPTIONS).fresh


def test_zip_files_without_a_raster_or_with_several(tmp_path):
    after = write(tmp_path / 'after.tif', True)
    for names, sentence in (
        (
            ['a.tif', 'b/c.jp2'],
            r'before\.zip contains 2 rasters: name one of them \(/vsizip/.*before\.zip/a\.tif, ',
        ),
        (['a.png', '.a.tif'], r'before\.zip contains no raster'),
    ):
        with zipfile.ZipFile(tmp_path / 'before.zip', 'w') as archive:
            for name in names:
                archive.writestr(name, '')
        with pytest.raises(UserError, match=sentence):
            detect_scene(FAKE, tmp_path / 'before.zip', after, tmp_path / 'change.tif', OPTIONS)
    (tmp_path / 'before.zip').write_bytes(b'PK')
    with pytest.raises(UserError, match='damaged or of another format'):
        detect_scene(FAKE, tmp_path / 'before.zip', after, tmp_path / 'change.tif', OPTIONS)


def test_one_file_for_both_dates_is_told(tmp_path):
    before = write(tmp_path / 'before.tif', False)
    (tmp_path / 'link.tif').symlink_to(before)
    for after in (before, tmp_path / 'link.tif'):
        result = detect_scene(FAKE, before, after, tmp_path / f'change {after.stem}.tif', OPTIONS)
        assert result.summary['warnings'][0] == f'{after} is given for both dates'


def test_coordinates_are_told_in_full(tmp_path):
    before = write(tmp_path / 'a.tif', False)
    after = write(tmp_path / 'b.tif', True, transform=from_origin(600_000.25, 5_000_000, 1, 1))
    with pytest.raises(UserError, match=r'\(500000, 4999904\) to .* at \(600000\.25, 4999904\)'):
        detect_scene(FAKE, before, after, tmp_path / 'change.tif', OPTIONS)


def test_a_page_of_it(tmp_path, server, capsys):
    write(tmp_path / 'before.tif', False)
    write(tmp_path / 'after.tif', True)
    detect_scene(FAKE, f'{server}/before.tif', f'{server}/after.tif', tmp_path / 'change.tif', OPTIONS)
    assert main(['view', str(tmp_path / 'change.tif')]) == 0
    assert (tmp_path / 'change_view/index.html').is_file()
    capsys.readouterr()


def test_what_cannot_be_reached(tmp_path, server, monkeypatch):
    monkeypatch.setenv('GDAL_HTTP_MAX_RETRY', '0')
    after = write(tmp_path / 'after.tif', True)
    (tmp_path / 'page.tif').write_text('<html>')
    for name in (
        f'{server}/missing.tif',
        f'{server}/page.tif',
        'http://127.0.0.1:9/none.tif',
        f'/vsizip/{tmp_path}/none.zip/a.tif',
    ):
        with pytest.raises(UserError, match=r'cannot be opened .*check the name, that it can be') as caught:
            detect_scene(FAKE, name, after, tmp_path / 'change.tif', OPTIONS)
        assert str(caught.value).startswith(name)


def test_in_a_list(tmp_path):
    path = tmp_path / 'list.csv'
    path.write_text('before,after,output\na.tif,https://host/b.tif,out/c.tif\n')
    (scene,) = read_list(path)
    assert (scene.before, scene.after) == (str(tmp_path / 'a.tif'), 'https://host/b.tif')


@pytest.mark.parametrize('turns', [(0, -1), (-1, 0), (0, 0)])
@pytest.mark.parametrize('shift', [0, 0.3])
def test_longitudes_of_both_kinds(tmp_path, turns, shift):
    """190 degrees are -170; on one grid, and on another one that is resampled."""
    step = 1e-5
    lefts = [190 + 360 * turn for turn in turns]
    before = write(tmp_path / 'a.tif', False, 'EPSG:4326', from_origin(lefts[0], 50, step, step))
    after = write(tmp_path / 'b.tif', True, 'EPSG:4326', from_origin(lefts[1] + shift * step, 50, step, step))
    result = detect_scene(FAKE, before, after, tmp_path / 'change.tif', OPTIONS)
    assert result.summary['after']['resampled'] == bool(shift)
    mask = mask_of(result)
    if shift:
        assert (mask[12:28, 42:68] == 1).all()
        assert result.summary['valid_pixels'] >= 96 * 95
    else:
        is_the_box(mask)
    (feature,) = json.loads(result.files['polygons'].read_text())['features']
    longitudes = np.array(feature['geometry']['coordinates'][0])[..., 0]
    assert -170 <= longitudes.min() <= longitudes.max() < -169.9  # as RFC 7946 wants them


def test_geojson_across_180(tmp_path):
    """The box from column 40 to 70 of a raster that crosses 180 degrees at column 50."""
    grid = from_origin(180 - 50e-5, 50, 1e-5, 1e-5)
    before = write(tmp_path / 'a.tif', False, 'EPSG:4326', grid)
    after = write(tmp_path / 'b.tif', True, 'EPSG:4326', grid)
    result = detect_scene(FAKE, before, after, tmp_path / 'change.tif', OPTIONS)
    (feature,) = json.loads(result.files['polygons'].read_text())['features']
    parts = [np.array(part[0])[:, 0] for part in feature['geometry']['coordinates']]
    spans = sorted((part.min(), part.max()) for part in parts)
    np.testing.assert_allclose(spans, [(-180, -180 + 20e-5), (180 - 10e-5, 180)], atol=1e-9)


def test_both_ends_of_a_map(tmp_path):
    before = write(tmp_path / 'a.tif', False, 'EPSG:4326', from_origin(170, 50, 0.2, 0.2))
    after = write(tmp_path / 'b.tif', True, 'EPSG:4326', from_origin(-180, 60, 3.75, 0.5))
    with pytest.raises(
        UserError, match=r'at longitudes 170 to 189\.2, overlaps both ends of .*gdalwarp -te 170'
    ):
        detect_scene(FAKE, before, after, tmp_path / 'change.tif', OPTIONS)


@pytest.mark.parametrize('variable', ['PROJ_DATA', 'PROJ_LIB'])
def test_proj_of_another_installation(tmp_path, variable, run_tool, monkeypatch):
    for name in ('PROJ_DATA', 'PROJ_LIB'):
        monkeypatch.delenv(name, raising=False)
    code = 'from hsonet_mm.images.ground import check_proj; check_proj()'
    environment = f'import os; os.environ["{variable}"] = {str(tmp_path)!r}; '
    done = run_tool('-W', 'ignore', '-c', environment + code)
    assert done.returncode == 1
    assert f'UserError: {variable}={tmp_path} is not the PROJ database that rasterio brings' in done.stderr
    assert f'unset {variable}' in done.stderr
    assert 'ERROR 1' not in done.stderr  # by GDAL, in words of its own


def test_the_size_of_pixels_needs_the_database_of_proj(tmp_path, run_tool, monkeypatch):
    for name in ('PROJ_DATA', 'PROJ_LIB'):
        monkeypatch.delenv(name, raising=False)
    path = write(tmp_path / 'a.tif', False, 'EPSG:32633', from_origin(5e5, 5e6, 1, 1))
    code = f"""if True:
        import os
        os.environ['PROJ_DATA'] = {str(tmp_path)!r}
        from hsonet_mm.images import read_pixels
        from hsonet_mm.images.ground import pixel_size
        place = read_pixels({str(path)!r}).raster.place
        pixel_size(place.crs, place.transform, 9, 9)
    """
    done = run_tool('-W', 'ignore', '-c', code)
    assert 'ERROR 1' not in done.stderr
    assert f'UserError: PROJ_DATA={tmp_path} is not the PROJ database that rasterio brings' in done.stderr


def test_proj_without_a_database(monkeypatch):
    def fail(_):
        raise CRSError('no database')

    for name in ('PROJ_DATA', 'PROJ_LIB'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ground, 'CRS', SimpleNamespace(from_epsg=fail))  # the class itself is compiled
    with pytest.raises(UserError, match=r'\(no database\): install rasterio again'):
        ground.check_proj()
    assert 'PROJ_DATA' not in os.environ
