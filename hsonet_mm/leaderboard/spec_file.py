"""Reading the spec of a leaderboard, a small YAML file: which methods are trained, on what, and how long.

A spec names a recipe (a config of everything but the model), a budget, seeds, data sets, and blocks of methods. A
method contributes its ``model`` and nothing else, so that all methods of a block are trained alike; or it names a
``checkpoint``, published weights that are scored and not trained. Rows of different blocks are never compared. Each
checkpoint is tested on the data set that it was trained on, and on those of ``also_test``. Paths of configs are
relative to the spec, data roots and checkpoints to the working directory. A block may name a ``recipe`` of its own in
place of the spec's: pre-trained backbones want another learning rate than new ones.
"""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    Strict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.spec import Block, Method, Spec, slug_of

__all__ = ['read_spec']


def _beside_the_spec(name: Any, info: ValidationInfo) -> Any:
    folder: Path = info.context  # type: ignore[assignment]
    return folder / name if isinstance(name, str) else name


Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r'^\w[\w.+-]*$')]
"""What methods and data sets are called: their names become folders."""
File = Annotated[Path, Strict(strict=False), BeforeValidator(_beside_the_spec)]
Seeds = Annotated[
    tuple[NonNegativeInt, ...],
    Field(min_length=1),
    BeforeValidator(lambda seeds: tuple(seeds) if isinstance(seeds, list) else seeds),
]
Roots = dict[Name, Text]


class _Node(BaseModel):
    """A mapping of the file with known keys; an optional one may be left empty."""

    model_config = ConfigDict(extra='forbid', strict=True)

    @model_validator(mode='before')
    @classmethod
    def _without_empty(cls, node: Any) -> Any:
        return {key: one for key, one in node.items() if one is not None} if isinstance(node, dict) else node


class _Method(_Node):
    config: File
    options: dict[str, Any] = {}
    checkpoint: Text | None = None

    @model_validator(mode='before')
    @classmethod
    def _from_text(cls, node: Any) -> Any:
        return {'config': node} if isinstance(node, str) else node

    @model_validator(mode='after')
    def _options_of_the_model(self) -> '_Method':
        if other := [key for key in self.options if not key.startswith('model.')]:
            raise ValueError(
                f'invalid option {other[0]!r} of a method: expected one that begins with model.; options '
                'for all methods belong to the block'
            )
        return self


class _Block(_Node):
    reference: str
    methods: dict[Name, _Method] = Field(min_length=1)
    options: dict[str, Any] = {}
    recipe: File | None = None

    @model_validator(mode='after')
    def _reference_is_a_method(self) -> '_Block':
        if self.reference not in self.methods:
            raise ValueError(
                f'invalid reference {self.reference!r}: expected one of the methods {", ".join(self.methods)}'
            )
        return self


class _Spec(_Node):
    title: str
    recipe: File
    iterations: NonNegativeInt
    validations: PositiveInt = 1
    seeds: Seeds
    data: Roots = Field(min_length=1)
    also_test: Roots = {}
    blocks: dict[str, _Block] = Field(min_length=1)

    @model_validator(mode='after')
    def _fits_together(self) -> '_Spec':
        methods = [pair for block in self.blocks.values() for pair in block.methods.items()]
        if not self.iterations and (trained := [name for name, one in methods if one.checkpoint is None]):
            raise ValueError(
                f'invalid iterations 0: expected 1 or more to train {trained[0]}, or a checkpoint of published weights'
            )
        if self.iterations % self.validations:
            better = max(self.iterations // self.validations, 1) * self.validations
            raise ValueError(
                f'invalid iterations {self.iterations} for {self.validations} evenly spaced validations: '
                f'expected a multiple, for instance iterations: {better}'
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f'invalid seeds {list(self.seeds)}: expected each seed once')
        for name, root in self.also_test.items():
            if self.data.get(name, root) != root:
                raise ValueError(f'{name} has different roots in data and also_test: rename one')
        slugs = set(map(slug_of, self.blocks))
        if len(slugs) < len(self.blocks) or '' in slugs:
            raise ValueError('the names of two blocks differ only in punctuation: rename one')
        return self


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, of which the standard loader silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem='a key is not a text', problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f'{key.value} is there twice', problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_spec(path: str | Path) -> Spec:
    """Read a spec; the files that it names are not looked at, see :func:`hsonet_mm.leaderboard.plan.contenders`."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f'the spec {path} does not exist: give a YAML file, see configs/leaderboard')
    try:
        content = yaml.load(path.read_text(encoding='utf-8'), _Loader)
        spec = _Spec.model_validate(content, context=path.parent)
    except ValidationError as error:
        first = error.errors()[0]
        place = '.'.join(str(one) for one in first['loc'] if one != '[key]') or 'the file'
        raise UserError(
            f'the spec {path}: {place}: {first["msg"].removeprefix("Value error, ")} (it is {_short(first["input"])})'
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # of dates that there are not, and of what is no UTF-8
        mark = getattr(error, 'problem_mark', None)
        line = f', line {mark.line + 1}' if mark else ''
        reason = getattr(error, 'problem', None) or error
        raise UserError(f'the spec {path}: cannot be read ({reason}{line}): correct it') from None
    blocks = tuple(
        Block(
            name,
            block.reference,
            block.recipe or spec.recipe,
            block.options,
            tuple(
                Method(method, one.config, one.options, one.checkpoint)
                for method, one in block.methods.items()
            ),
        )
        for name, block in spec.blocks.items()
    )
    named = ('title', 'iterations', 'validations', 'seeds', 'data', 'also_test')
    return Spec(path=path, blocks=blocks, **{name: getattr(spec, name) for name in named})


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f'{text[:60]}...'
