"""Reading the spec of a leaderboard, a small YAML file: which methods are trained, on what, and how long.

A spec names a recipe (a config of everything but the model), a budget, seeds, data sets, and blocks of methods. A
method contributes its ``model`` and nothing else, so that all methods of a block are trained alike; rows of different
blocks are never compared. Each checkpoint is tested on the data set that it was trained on, and on those of
``also_test``. Paths of configs are relative to the spec, data roots to the working directory. A block may
name a ``recipe`` of its own in place of the spec's: pre-trained backbones want another learning rate than new ones.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.spec import Block, Method, Spec

__all__ = ['read_spec']

NAME = re.compile(r'\w[\w.+-]*')
"""What methods and data sets are called: their names become folders."""


def read_spec(path: str | Path) -> Spec:
    """Read a spec; the files that it names are not looked at, see :func:`hsonet_mm.leaderboard.plan.contenders`.

    Raises:
        UserError: if the file does not exist, is no YAML, or says what no spec can say.
    """
    return _Reader(Path(path)).spec()


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, of which the standard loader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem='a key is no text', problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f'{key.value} is there twice', problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Reader:
    """Turns the content of one file into a spec; every complaint names the file and the place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise UserError(f'the spec {path} does not exist: give a YAML file, see configs/leaderboard')

    def spec(self) -> Spec:
        try:
            content = yaml.load(self.path.read_text(encoding='utf-8'), _Loader)
        except (yaml.YAMLError, ValueError) as error:  # of dates that there are not, and of what is no UTF-8
            mark = getattr(error, 'problem_mark', None)
            line = f', line {mark.line + 1}' if mark else ''
            self.fail(f'cannot be read ({getattr(error, "problem", None) or error}{line})')
        required = {
            'title': str,
            'recipe': str,
            'iterations': int,
            'seeds': list,
            'data': dict,
            'blocks': dict,
        }
        optional = {'validations': int, 'also_test': dict}
        top = self.mapping(content, 'the file', required, optional)
        iterations, validations = top['iterations'], top.get('validations', 1)
        for name, value in (('iterations', iterations), ('validations', validations)):
            if value < 1:
                self.fail(f'{name} is {value}', 'give 1 or more')
        if iterations % validations:
            better = max(iterations // validations, 1) * validations
            self.fail(
                f'{iterations} iterations have no {validations} evenly spaced validations',
                f'give for instance iterations: {better}',
            )
        recipe = self.path.parent / top['recipe']
        blocks = tuple(self.block(name, node, recipe) for name, node in self.named(top['blocks'], 'blocks'))
        if len({block.slug for block in blocks}) < len(blocks) or not all(block.slug for block in blocks):
            self.fail('the names of the blocks differ in nothing but signs', 'rename one')
        return Spec(
            self.path,
            top['title'],
            iterations,
            validations,
            self.seeds(top['seeds']),
            *self.data(top['data'], top.get('also_test', {})),
            blocks,
        )

    def seeds(self, values: list[Any]) -> tuple[int, ...]:
        if not values or any(type(value) is not int or value < 0 for value in values):
            self.fail(f'seeds is {values}', 'give one or more numbers from 0 on')
        if len(set(values)) < len(values):
            self.fail(f'seeds is {values}', 'give each seed once')
        return tuple(values)

    def data(self, trained: dict[Any, Any], tested: dict[Any, Any]) -> tuple[dict[str, str], dict[str, str]]:
        data = dict(self.named(trained, 'data', NAME))
        also_test = dict(self.named(tested, 'also_test', NAME, empty=True))
        for name, root in (*data.items(), *also_test.items()):
            if not isinstance(root, str) or not root:
                self.fail(f'the data root of {name} is {root!r}', 'give the folder that holds the data set')
            if data.get(name, root) != root:
                self.fail(f'{name} has one root in data and another in also_test', 'rename one')
        return data, also_test

    def block(self, name: str, node: Any, recipe: Path) -> Block:
        where = f'block {name!r}'
        block = self.mapping(
            node, where, {'reference': str, 'methods': dict}, {'options': dict, 'recipe': str}
        )
        methods = tuple(
            self.method(method, value, where)
            for method, value in self.named(block['methods'], f'methods of {where}', NAME)
        )
        names = [method.name for method in methods]
        if block['reference'] not in names:
            self.fail(
                f'the reference {block["reference"]!r} of {where} is none of its methods',
                f'choose one of {", ".join(names)}',
            )
        own = self.path.parent / block['recipe'] if 'recipe' in block else recipe
        options = dict(self.named(block.get('options') or {}, f'options of {where}', empty=True))
        return Block(name, block['reference'], own, options, methods)

    def method(self, name: str, node: Any, where: str) -> Method:
        where = f'method {name!r} of {where}'
        if isinstance(node, str):
            node = {'config': node}
        method = self.mapping(node, where, {'config': str}, {'options': dict})
        options = dict(self.named(method.get('options') or {}, f'options of {where}', empty=True))
        for key in options:
            if not key.startswith('model.'):
                self.fail(
                    f'the option {key!r} of {where} is not of the model',
                    'let it begin with model., or move it to the options of the block, which hold for all methods',
                )
        return Method(name, self.path.parent / method['config'], options)

    def mapping(
        self, node: Any, where: str, required: dict[str, type], optional: dict[str, type]
    ) -> dict[str, Any]:
        """A mapping with known keys and types; an optional value may be left empty."""
        known = {**required, **optional}
        if not isinstance(node, dict):
            self.fail(f'{where} is no mapping', f'give the keys {", ".join(required)}')
        for key, value in node.items():
            if key not in known:
                self.fail(f'{where} has the unknown key {key!r}', f'use {", ".join(known)}')
            if type(value) is not known[key] and not (value is None and key in optional):
                names = {str: 'a text', int: 'a whole number', bool: 'true or false', list: 'a list'}
                self.fail(f'{key} of {where} is {value!r}', f'give {names.get(known[key], "a mapping")}')
        if missing := [key for key in required if key not in node]:
            self.fail(f'{where} lacks {missing[0]}', 'add it')
        return {key: value for key, value in node.items() if value is not None}

    def named(
        self, node: dict[Any, Any], where: str, pattern: re.Pattern[str] | None = None, empty: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """The items of a mapping whose keys are names."""
        if not node and not empty:
            self.fail(f'{where} is empty', 'name at least one')
        for name, value in node.items():
            if not isinstance(name, str) or (pattern and not pattern.fullmatch(name)):
                self.fail(f'{name!r} in {where} is no name', 'use letters, digits, ., +, - and _')
            yield name, value

    def fail(self, what: str, cure: str = 'correct it') -> NoReturn:
        raise UserError(f'the spec {self.path}: {what}: {cure}')
