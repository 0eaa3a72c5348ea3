"""The spec of a leaderboard: what it says, and every mistake in it as one sentence."""

from pathlib import Path

import pytest
import yaml

pytest.importorskip('pandas')
pytest.importorskip('pydantic')

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.spec_file import read_spec

pytestmark = pytest.mark.any_host

BLOCK = {'reference': 'a', 'methods': {'a': 'a.py', 'b': 'b.py'}}
SPEC = {
    'title': 'T', 'recipe': 'r.py', 'iterations': 4, 'validations': 2, 'seeds': [0, 1], 'data': {'d': 'root'},
    'blocks': {'x': BLOCK},
}  # fmt: skip


def test_spec_says_what_it_says(tmp_path):
    path = tmp_path / 'spec.yaml'
    block = {**BLOCK, 'recipe': 'other.py', 'options': {'a.b': None}}
    path.write_text(yaml.safe_dump({**SPEC, 'blocks': {'One, two!': block, 'x': BLOCK}, 'validations': None}))
    spec = read_spec(path)
    assert (spec.validations, spec.also_test, spec.seeds) == (1, {}, (0, 1))
    assert [(block.recipe or spec.recipe).name for block in spec.blocks.values()] == ['other.py', 'r.py']
    assert spec.blocks['One, two!'].options == {'a.b': None}
    assert spec.blocks['x'].methods['b'].config == tmp_path / 'b.py'
    listed = list(spec.runs())
    assert len(listed) == 2 * 2 * 2
    assert [run.seed for run in listed] == [0] * 4 + [1] * 4
    assert str(listed[1]) == 'd / One, two! / b / seed 0'
    assert listed[1].folder == Path('runs/d/one-two/b/seed0')
    assert [run.seed for run in spec.runs([1], ['b'])] == [1, 1]
    with pytest.raises(UserError, match=r"^invalid --seeds '7' for .*spec\.yaml: expected .* 0, 1"):
        list(spec.runs([7]))
    with pytest.raises(UserError, match=r"^invalid --methods 'c' .*: expected .* a, b"):
        list(spec.runs(None, ['c']))
    with pytest.raises(UserError, match=r"^invalid --data 'e' .*: expected .* d"):
        list(spec.runs(data=['e']))


def test_published_weights_are_one_run_of_no_iterations(tmp_path):
    """Beside methods that are trained, in a block of their own; paths are as those of data, so not beside the spec."""
    path = tmp_path / 'spec.yaml'
    methods = {'c': {'config': 'c.py', 'checkpoint': '${WEIGHTS:-c.pth}'}}
    path.write_text(
        yaml.safe_dump({**SPEC, 'blocks': {'x': BLOCK, 'y': {'reference': 'c', 'methods': methods}}})
    )
    spec = read_spec(path)
    trained, published = spec.blocks['x'].methods['a'], spec.blocks['y'].methods['c']
    assert (trained.checkpoint, published.checkpoint) == (None, '${WEIGHTS:-c.pth}')
    assert (spec.iterations_of(trained), spec.iterations_of(published)) == (4, 0)
    assert [run.seed for run in spec.runs(methods=['c'])] == [0]
    assert [run.seed for run in spec.runs(methods=['a'])] == [0, 1]
    alone = {**SPEC, 'blocks': {'y': {'reference': 'c', 'methods': methods}}, 'iterations': 0}
    path.write_text(yaml.safe_dump(alone))
    assert read_spec(path).iterations == 0


def test_a_part_of_a_spec_is_trained_on_one_data_set_and_still_tested_on_all(tmp_path):
    path = tmp_path / 'spec.yaml'
    tested = {'e': 'there', 'f': 'far'}
    path.write_text(yaml.safe_dump({**SPEC, 'data': {'d': 'here', 'e': 'there'}, 'also_test': tested}))
    spec = read_spec(path)
    assert len(list(spec.runs())) == 2 * len(list(spec.runs(data=['e'])))
    assert {run.data_set for run in spec.runs(data=['e'])} == {'e'}
    assert list(spec.data) == ['d', 'e']
    assert spec.test_sets('d') == {'d': 'here', **tested}
    assert spec.test_sets('e') == tested
    with pytest.raises(UserError, match=r"^invalid --data 'f' .*: expected .* d, e"):
        list(spec.runs(data=['f']))


@pytest.mark.parametrize(
    ('changes', 'place'),
    [
        ({'epochs': 3}, 'epochs: unknown key'),
        ({'title': None}, 'title: this key is missing'),
        ({'iterations': True}, 'iterations: '),
        (
            {'iterations': 5},
            'invalid iterations 5 for 2 evenly spaced validations: expected',
        ),
        ({'iterations': None, 'iteration': 4}, 'iterations: this key is missing, and iteration: unknown key'),
        ({'iterations': 2.5}, 'iterations: invalid 2.5: expected a whole number'),
        ({'validations': -1}, 'validations: invalid -1: expected 1 or more'),
        ({'seeds': []}, 'seeds: invalid []: expected at least one entry'),
        ({'seeds': 0}, 'seeds: invalid 0: expected a list in square brackets'),
        ({'title': 2024}, 'title: invalid 2024: expected a text'),
        ({'seeds': [1, 1]}, 'invalid seeds [1, 1]: expected'),
        ({'seeds': ['a']}, 'seeds.0: '),
        ({'seeds': [-1]}, 'seeds.0: '),
        ({'data': {}}, 'data: '),
        ({'data': {'a/b': 'root'}}, "data.a/b: invalid 'a/b': expected a name of letters"),
        ({'data': {'d': 3}}, 'data.d: '),
        ({'iterations': 0}, 'invalid iterations 0: expected 1 or more to train a'),
        ({'iterations': -1}, 'iterations: '),
        ({'also_test': True}, 'also_test: '),
        ({'also_test': {'a/b': 'root'}}, 'also_test.a/b: '),
        ({'also_test': {'e': ''}}, 'also_test.e: '),
        (
            {'data': {'d': 'x'}, 'also_test': {'d': 'y'}},
            'd has different roots in data and also_test',
        ),
        ({'blocks': {}}, 'blocks: '),
        ({'blocks': {'x': 'y'}}, 'blocks.x: '),
        ({'blocks': {'x': {'reference': 'a'}}}, 'blocks.x.methods: this key is missing'),
        (
            {'blocks': {'x': {**BLOCK, 'reference': 'c'}}},
            "blocks.x: invalid reference 'c': expected",
        ),
        ({'blocks': {'x': {**BLOCK, 'methods': {'a': 3}}}}, 'blocks.x.methods.a: '),
        (
            {'blocks': {'x': {**BLOCK, 'methods': {'a': {'config': 'a.py', 'lr': 1}}}}},
            'blocks.x.methods.a.lr: unknown key',
        ),
        (
            {
                'blocks': {
                    'x': {**BLOCK, 'methods': {'a': {'config': 'a.py', 'options': {'optim_wrapper.lr': 1}}}}
                }
            },
            "blocks.x.methods.a: invalid option 'optim_wrapper.lr' of a method: expected",
        ),
        (
            {'blocks': {'x.': BLOCK, 'X!': BLOCK}},
            'the names of two blocks have the same letters a to z and digits: rename one',
        ),
        (
            {'blocks': {'从零开始': BLOCK}},
            "invalid block name '从零开始': expected a letter from a to z or a digit in it",
        ),
    ],
)
def test_spec_with_a_mistake(tmp_path, changes, place):
    """The sentence names the file and where in it the mistake is."""
    path = tmp_path / 'spec.yaml'
    path.write_text(yaml.safe_dump({**SPEC, **changes}))
    with pytest.raises(UserError) as caught:
        read_spec(path)
    assert str(caught.value).startswith(f'the spec {path}: {place}')
    assert "(it is {'" not in str(caught.value)  # the whole file or block says nothing


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_spec_of_any_editor(tmp_path, encoding):
    path = tmp_path / 'spec.yaml'
    path.write_bytes(yaml.safe_dump(SPEC | {'title': 'été'}, allow_unicode=True).encode(encoding))
    assert read_spec(path).title == 'été'


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('seeds: [0', 'cannot be read'),
        ('title: a\ntitle: b\n', 'title is there twice, line 2'),
        ('', 'expected keys with values$'),
        ('? [a, b]\n: c', 'a key is not a text, line 1'),
        ('title: {{ x }}', 'a key is not a text, line 1'),
        ('title: 2020-13-45', 'cannot be read'),
    ],
)
def test_spec_that_is_no_yaml(tmp_path, text, sentence):
    path = tmp_path / 'spec.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_spec(path)
    with pytest.raises(UserError, match=r'no\.yaml does not exist'):
        read_spec(tmp_path / 'no.yaml')
