"""Lists of scenes as spreadsheets write them."""

import pytest

pytest.importorskip('shapely')
from hsonet_mm.errors import UserError
from hsonet_mm.scenes.listing import Scene, find_scenes, read_list

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
