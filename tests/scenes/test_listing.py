"""Lists of scenes as spreadsheets write them."""

import csv

import pytest

pytest.importorskip('shapely')
from hsonet_mm.errors import UserError
from hsonet_mm.scenes.listing import Scene, check_results, find_scenes, read_list

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize(
    'content',
    [
        b'before,after,output\r\nin/a.tif,in/b.tif,o.tif\r\n\r\n',
        b'before;after;output\r\nin/a.tif;in/b.tif;o.tif\r\n;;\r\n',
        'before\tafter\toutput\r\nin/a.tif\tin/b.tif\to.tif\r\n'.encode('utf-16'),
        b'\xef\xbb\xbfbefore, after, output\nin/a.tif, in/b.tif, o.tif\n',
        b'Output,Before,AFTER,remark\no.tif,in/a.tif,in/b.tif,"a, b"\n',
        b'"before","after","output"\n"in/a.tif","in/b.tif","o.tif"\n',
        b'sep=;\r\nbefore;after;output\r\nin/a.tif;in/b.tif;o.tif\r\n',
        b'before,after,output\nin\\a.tif,in\\b.tif,o.tif\n',
    ],
    ids=['plain', 'semicolons', 'utf-16', 'spaces', 'capitals', 'quotes', 'sep', 'backslashes'],
)
def test_lists_of_spreadsheets(tmp_path, content):
    (tmp_path / 'list.csv').write_bytes(content)
    expected = Scene(*(str(tmp_path / name) for name in ('in/a.tif', 'in/b.tif', 'o.tif')))
    assert read_list(tmp_path / 'list.csv') == [expected]


def test_the_number_of_an_incomplete_line_counts_empty_ones(tmp_path):
    (tmp_path / 'list.csv').write_bytes(b'before;after;output\r\n\r\na.tif;b.tif\r\n')
    with pytest.raises(UserError, match=r'line 3 of .*list\.csv is incomplete'):
        read_list(tmp_path / 'list.csv')


def test_hidden_files_are_no_scenes(tmp_path):
    for name in ('A/x.tif', 'B/x.TIF', 'A/._x.tif', 'B/.trash.tif'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (scene,) = find_scenes(tmp_path / 'A', tmp_path / 'B', tmp_path / 'out')
    assert scene.after == str(tmp_path / 'B/x.TIF')


class TestLists:
    def test_list(self, tmp_path):
        rows = [('a/one.tif', 'b/one.tif', 'out/x.tif'), ('a/three.tif', 'b/three.tif', 'out/y.tif')]
        with (tmp_path / 'list.csv').open('w', newline='') as file:
            csv.writer(file).writerows([('before', 'after', 'output'), *rows])
        scenes = read_list(tmp_path / 'list.csv')
        assert scenes[0] == Scene(*(str(tmp_path / cell) for cell in rows[0]))
        assert read_list(tmp_path / 'list.csv', tmp_path / 'o')[1].output == str(tmp_path / 'o/out/y.tif')

    @pytest.mark.parametrize(
        ('text', 'sentence'),
        [
            ('', '^invalid header of the list'),
            ('before,after\na,b\n', '^invalid header of the list'),
            ('before,after,output\n', 'names no scenes'),
            ('before,after,output\na,b\n', 'line 2'),
            (b'\xff\xfe\x00', 'cannot be read'),
        ],
    )
    def test_bad_lists(self, tmp_path, text, sentence):
        (tmp_path / 'list.csv').write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UserError, match=sentence):
            read_list(tmp_path / 'list.csv')

    def test_other_results_beside_each_other_are_fine(self):
        scenes = [Scene('a/x.tif', 'b/x.tif', f'out/{name}.tif') for name in ('x', 'x_2020', 'x_mask.2')]
        check_results(scenes, 'gpkg')

    def test_folders_that_do_not_match(self, two_folders, tmp_path):
        (tmp_path / 'b' / 'one.tif').unlink()
        with pytest.raises(UserError, match=r'one is in .*a, but not in .*b'):
            find_scenes(*two_folders, tmp_path / 'out')
        (tmp_path / 'empty').mkdir()
        with pytest.raises(UserError, match='empty contains no rasters'):
            find_scenes(two_folders[0], tmp_path / 'empty', tmp_path / 'out')
        with pytest.raises(UserError, match='is the folder of the rasters'):
            find_scenes(two_folders[0], two_folders[0], two_folders[0])
        (tmp_path / 'a' / 'one.tiff').touch()
        with pytest.raises(UserError, match='have one name'):
            find_scenes(*two_folders, tmp_path / 'out')
