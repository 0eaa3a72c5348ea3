"""Declarations about files: bands, stretch and nodata."""

import numpy as np
import pytest

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.images.options import Stretch, apply_stretch

pytestmark = pytest.mark.any_host


class TestBands:
    def test_nan_becomes_0(self):
        assert apply_stretch(np.array([np.nan, np.inf, -np.inf, 5.0]), Stretch(0, 10)).tolist() == [
            0,
            255,
            0,
            128,
        ]


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
        assert len(notes) == 2
        assert notes[0] == 'the model was trained with 0,3000, but --stretch is 0,9000 here'
        assert Reading.make('3,2,1').over(trained) == (trained, [])
