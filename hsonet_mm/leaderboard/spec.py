"""The spec of a leaderboard: a small YAML file that says which methods are trained, on what, and how long.

A spec names a recipe (a config of everything but the model), a budget, seeds, data sets, and blocks of methods. A
method contributes its ``model`` and nothing else, so that all methods of a block are trained alike; rows of different
blocks are never compared. Paths of configs are relative to the spec, data roots to the working directory. A block may
name a ``recipe`` of its own in place of the spec's: pre-trained backbones want another learning rate than new ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from hsonet_mm.errors import UserError

__all__ = ['Block', 'Method', 'Run', 'Spec', 'read_spec']

NAME = re.compile(r'\w[\w.+-]*')
"""What methods and data sets are called: their names become folders."""


@dataclass(frozen=True)
class Method:
    """A method of a block.

    Attributes:
        name: What it is called in the tables.
        config: File of its config, of which the model alone is used.
        options: Changes to the model, by dotted keys that begin with ``model.``
    """

    name: str
    config: Path
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """Methods that are compared with each other.

    Attributes:
        name: What it is called in the tables.
        reference: Name of the method that the others are compared with.
        recipe: File of the config of everything but the model.
        options: Changes to the config for every method of the block, by dotted keys.
        methods: The methods in the order of the tables.
    """

    name: str
    reference: str
    recipe: Path
    options: Mapping[str, Any]
    methods: tuple[Method, ...]

    @property
    def slug(self) -> str:
        """The name as a folder."""
        return re.sub(r'[^a-z0-9]+', '-', self.name.lower()).strip('-')


@dataclass(frozen=True)
class Run:
    """One training and its scoring.

    Attributes:
        block: Block of the method.
        method: What is trained.
        data_set: Name of the data set that it is trained on.
        seed: Seed of the training.
    """

    block: Block
    method: Method
    data_set: str
    seed: int

    @property
    def key(self) -> dict[str, Any]:
        """What tells the run from the others, as columns of the tables."""
        return {
            'block': self.block.name,
            'method': self.method.name,
            'data_set': self.data_set,
            'seed': self.seed,
        }

    @property
    def folder(self) -> Path:
        """Its folder, relative to the output folder."""
        return Path('runs', self.data_set, self.block.slug, self.method.name, f'seed{self.seed}')

    def __str__(self) -> str:
        return f'{self.data_set} / {self.block.name} / {self.method.name} / seed {self.seed}'


@dataclass(frozen=True)
class Spec:
    """A leaderboard.

    Attributes:
        path: The file that it was read from.
        title: Heading of the report.
        iterations: Iterations of every training.
        validations: Validations of every training, evenly spaced, the last at the end.
        seeds: Seeds of the trainings of each method on each data set.
        data: Roots of the data sets by name, as written: environment variables are not expanded.
        cross_test: Whether each checkpoint is scored on the test splits of all data sets.
        blocks: The blocks in the order of the report.
    """

    path: Path
    title: str
    iterations: int
    validations: int
    seeds: tuple[int, ...]
    data: Mapping[str, str]
    cross_test: bool
    blocks: tuple[Block, ...]

    def runs(
        self,
        seeds: Sequence[int] | None = None,
        methods: Sequence[str] | None = None,
        data: Sequence[str] | None = None,
    ) -> Iterator[Run]:
        """The runs, seed by seed, so that a leaderboard cut short still compares all methods.

        Args:
            seeds: Only these.
            methods: Only these.
            data: Only trained on these data sets.

        Raises:
            UserError: for a seed, a method or a data set that the spec lacks.
        """
        known = {method.name for block in self.blocks for method in block.methods}
        for option, what, wanted, there in (
            ('--seeds', 'seed', seeds, set(self.seeds)),
            ('--methods', 'method', methods, known),
            ('--data', 'data set', data, set(self.data)),
        ):
            if unknown := [one for one in wanted or () if one not in there]:
                names = ', '.join(map(str, sorted(there)))
                raise UserError(f'{option} {unknown[0]} is no {what} of {self.path}: choose among {names}')
        for seed in self.seeds:
            for data_set in data or self.data:
                for block in self.blocks:
                    for method in block.methods:
                        if (not seeds or seed in seeds) and (not methods or method.name in methods):
                            yield Run(block, method, data_set, seed)


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
        except (yaml.YAMLError, UnicodeDecodeError) as error:
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
        optional = {'validations': int, 'cross_test': bool}
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
            self.data(top['data']),
            top.get('cross_test', False),
            blocks,
        )

    def seeds(self, values: list[Any]) -> tuple[int, ...]:
        if not values or any(type(value) is not int or value < 0 for value in values):
            self.fail(f'seeds is {values}', 'give one or more numbers from 0 on')
        if len(set(values)) < len(values):
            self.fail(f'seeds is {values}', 'give each seed once')
        return tuple(values)

    def data(self, node: dict[Any, Any]) -> dict[str, str]:
        roots = dict(self.named(node, 'data', NAME))
        for name, root in roots.items():
            if not isinstance(root, str) or not root:
                self.fail(f'the data root of {name} is {root!r}', 'give the folder that holds the data set')
        return roots

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
