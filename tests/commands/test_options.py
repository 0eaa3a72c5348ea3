"""The model among the arguments of a command."""

import pytest

from hsonet_mm.commands.options import split_model
from hsonet_mm.errors import UserError


class TestArguments:
    DATES = ('the image before', 'the image after')

    @pytest.mark.parametrize(
        ('arguments', 'model', 'files'),
        [
            (['a.png', 'b.png'], None, ('buildings',)),
            (['a.png', 'b.png'], 'm.onnx', ('m.onnx',)),
            (['m.onnx', 'a.png', 'b.png'], None, ('m.onnx',)),
            (['M.ONNX', 'a.png', 'b.png'], None, ('M.ONNX',)),
            (['c.py', 'c.pth', 'a.png', 'b.png'], None, ('c.py', 'c.pth')),
        ],
    )
    def test_what_is_the_model(self, arguments, model, files):
        assert split_model(arguments, model, self.DATES) == (files, ['a.png', 'b.png'])

    @pytest.mark.parametrize(
        ('arguments', 'model', 'sentence'),
        [
            (['a.png'], None, 'too few files: give the image before and the image after; before them config'),
            (
                ['c.py', 'c.pth'],
                None,
                'c.py is given as the image before and the image after: give',
            ),
            (['m.onnx', 'a.png'], None, 'm.onnx is given as the image'),
            (['c.py', 'a.png', 'b.png'], None, 'invalid model c.py: give'),
            (['m.onnx', 'a.png', 'b.png', 'c.png'], None, 'invalid model m.onnx a.png: give'),
            (['c.pth', 'c.py', 'a.png', 'b.png'], None, 'invalid model c.pth c.py: give'),
            (['a.png', 'b.png', 'a.png', 'b.png'], None, 'invalid model a.png b.png: give'),
            (['c.py', 'c.pth', 'c.pth', 'a', 'b'], None, 'invalid model c.py c.pth c.pth: give'),
            (['m.onnx', 'a.png', 'b.png'], 'buildings', 'both --model buildings and m.onnx give a model'),
            (['a.png'], 'buildings', 'too few files'),
        ],
    )
    def test_what_is_not(self, arguments, model, sentence):
        with pytest.raises(UserError, match='^' + sentence.replace('.', r'\.')):
            split_model(arguments, model, self.DATES)

    def test_a_list_of_scenes_needs_a_model_alone(self):
        assert split_model([], None, ()) == (('buildings',), [])
        assert split_model(['m.onnx'], None, ()) == (('m.onnx',), [])
        with pytest.raises(UserError, match=r'^invalid model a\.tif: give the model alone'):
            split_model(['a.tif'], None, ())
