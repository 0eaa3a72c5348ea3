"""Declarations about files: bands, stretch and nodata."""

import numpy as np
import pytest

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.images.options import Stretch, apply_stretch, parse_stretch

pytestmark = pytest.mark.any_host


class TestBands:
    def test_nan_becomes_0(self):
        assert apply_stretch(np.array([np.nan, np.inf, -np.inf, 5.0]), Stretch(0, 10)).tolist() == [
            0,
            255,
            0,
            128,
        ]


class TestStretch:
    def test_values(self):
        values = np.array([[0, 500, 1000, 3000, 65535]], np.uint16)
        assert apply_stretch(values, parse_stretch('500,1500')).tolist() == [[0, 0, 128, 255, 255]]

    def test_percentiles(self):
        stretch = parse_stretch('2%, 98%').resolve(np.arange(1001))
        assert stretch == Stretch(20, 980)
        assert str(stretch) == '20,980'
        assert Stretch(2, 98, True).resolve(np.full(9, 7)) == Stretch(7, 8)

    @pytest.mark.parametrize(
        ('dtype', 'value'),
        [('f4', np.finfo(np.float32).min), ('f4', 3e38), ('f8', -1e300), ('f4', 0), ('i8', 2**60), ('u1', 7)],
    )
    def test_one_value_everywhere(self, dtype, value):
        """Also one so large, as undeclared nodata is, that it and its sum with 1 are the same."""
        values = np.full((2, 3), value, dtype)
        stretch = Stretch(2, 98, percent=True).resolve(values)
        assert stretch.low < stretch.high
        assert apply_stretch(values, stretch).tolist() == [[0] * 3] * 2

    @pytest.mark.parametrize('dtype', [np.uint32, np.int32, np.int64, np.float64])
    def test_small_differences_of_large_values(self, dtype):
        values = np.arange(2**24, 2**24 + 4).astype(dtype)
        assert apply_stretch(values, Stretch(2**24, 2**24 + 3)).tolist() == [0, 85, 170, 255]

    @pytest.mark.parametrize('text', ['', '5', '3,1', '2%,98', '-1%,50%', '2%,101%', 'a,b', '1,2,3'])
    def test_bad(self, text):
        with pytest.raises(UserError, match='invalid stretch'):
            parse_stretch(text)


class TestDeclared:
    def test_round_trip_as_plain_text(self):
        reading = Reading.make('4,3,2/1,2,3', '2%,98%', 'nan')
        written = reading.to_dict()
        assert written == {'bands': '4,3,2/1,2,3', 'stretch': '2%,98%', 'nodata': 'nan'}
        assert Reading.from_dict(written).to_dict() == written
        assert Reading.from_dict(None) == Reading()
        assert reading.of_date(0).bands == (4, 3, 2)
        assert reading.of_date(1).bands == (1, 2, 3)

    @pytest.mark.parametrize('given', [{'bands': '1,2/3'}, {'bands': 'red'}, {'bands': '0,1,2'}, {'bands': '1/2/3'},
                                       {'stretch': '5,1'}, {'stretch': '5'}, {'nodata': 'none'}])  # fmt: skip
    def test_what_is_no_declaration(self, given):
        with pytest.raises(UserError, match=r'^invalid .*: expected'):
            Reading.make(**given)

    def test_what_differs_from_training_is_told(self):
        trained = Reading.make('3,2,1', '0,3000')
        merged, notes = Reading.make(stretch='0,9000', nodata=0).over(trained)
        assert merged == Reading.make('3,2,1', '0,9000', 0)
        assert notes == ['the model was trained with --stretch 0,3000; --stretch 0,9000 differs from that']
        assert Reading.make('3,2,1').over(trained) == (trained, [])
        undeclared = Reading()
        assert Reading.make(nodata=0).over(undeclared)[1] == []
        assert Reading.make('4,3,2', '2%,98%').over(undeclared)[1] == []  # as our own messages advise
