"""The spec of a leaderboard: blocks of methods, data sets, seeds and a budget, and the runs that follow from them.

A spec is a small YAML file. It names a recipe (a config of everything but the model), a budget, seeds, data sets, and
blocks of methods. A method contributes its ``model`` and nothing else, so that a block is trained alike throughout;
or it names a ``checkpoint``, published weights that are scored and not trained. Rows of different blocks are never
compared. Each checkpoint is tested on the data set that it was trained on, and on those of ``also_test``. Paths of
configs are relative to the spec, data roots and checkpoints to the working directory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    Strict,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.records import Run, slug_of

__all__ = ['Block', 'Method', 'Spec']


def _beside_the_spec(name: Any, info: ValidationInfo) -> Any:
    spec: Path = info.context  # type: ignore[assignment]
    return spec.parent / name if isinstance(name, str) else name


Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r'^\w[\w.+-]*$')]
"""What methods and data sets are called: their names become folders."""
File = Annotated[Path, Strict(strict=False), BeforeValidator(_beside_the_spec)]
Seeds = Annotated[tuple[NonNegativeInt, ...], Strict(strict=False), Field(min_length=1)]
Roots = dict[Name, Text]
"""Folders of data sets by name, as written: environment variables are not expanded."""


class _Node(BaseModel):
    """A mapping of the file with known keys; an optional one may be left empty."""

    model_config = ConfigDict(extra='forbid', strict=True, frozen=True)

    @model_validator(mode='before')
    @classmethod
    def _without_empty(cls, node: Any) -> Any:
        return {key: one for key, one in node.items() if one is not None} if isinstance(node, dict) else node


class Method(_Node):
    """A method of a block; in the file a text is its config.

    Attributes:
        config: File of its config, of which the model alone is used.
        options: Changes to the model, by dotted keys that begin with ``model.``
        checkpoint: File of published weights, as written: environment variables are not expanded; or the name of a
            model that comes with the package. Such a method is scored and not trained. None for one that is trained.
    """

    config: File
    options: dict[str, Any] = {}
    checkpoint: Text | None = None

    @model_validator(mode='before')
    @classmethod
    def _from_text(cls, node: Any) -> Any:
        return {'config': node} if isinstance(node, str) else node

    @model_validator(mode='after')
    def _options_of_the_model(self) -> 'Method':
        if other := [key for key in self.options if not key.startswith('model.')]:
            raise ValueError(
                f'invalid option {other[0]!r} of a method: expected one that begins with model.; options '
                'for all methods belong to the block'
            )
        return self


class Block(_Node):
    """Methods that are compared with each other.

    Attributes:
        reference: Name of the method that the others are compared with.
        options: Changes to the config for every method of the block, by dotted keys.
        recipe: In place of the spec's, for instance because pre-trained backbones want another learning rate.
    """

    reference: str
    methods: dict[Name, Method] = Field(min_length=1)
    options: dict[str, Any] = {}
    recipe: File | None = None

    @model_validator(mode='after')
    def _reference_is_a_method(self) -> 'Block':
        if self.reference not in self.methods:
            raise ValueError(
                f'invalid reference {self.reference!r}: expected one of the methods {", ".join(self.methods)}'
            )
        return self


class Spec(_Node):
    """A leaderboard.

    Attributes:
        recipe: File of the config of everything but the model.
        iterations: Iterations of every training; 0 where all weights are published.
        seeds: Seeds of the trainings of each method on each data set.
        data: Data sets that methods are trained on, and tested on.
        also_test: Data sets that every checkpoint is tested on as well.
    """

    title: str
    recipe: File
    iterations: NonNegativeInt
    validations: PositiveInt = 1
    seeds: Seeds
    data: Roots = Field(min_length=1)
    also_test: Roots = {}
    blocks: dict[str, Block] = Field(min_length=1)
    _path: Path = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Keep the path of the file, which is the context of the validation."""
        self._path = context

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @model_validator(mode='after')
    def _fits_together(self) -> 'Spec':
        trained = [
            name
            for block in self.blocks.values()
            for name, one in block.methods.items()
            if not one.checkpoint
        ]
        if trained and not self.iterations:
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
        slugs = [slug_of(name) for name in self.blocks]
        if '' in slugs:
            nameless = list(self.blocks)[slugs.index('')]
            raise ValueError(
                f'invalid block name {nameless!r}: expected a letter from a to z or a digit in it'
            )
        if len(set(slugs)) < len(slugs):
            raise ValueError('the names of two blocks have the same letters a to z and digits: rename one')
        return self

    def test_sets(self, data_set: str) -> Roots:
        """The data sets that what was trained on one of them is tested on."""
        return {data_set: self.data[data_set], **self.also_test}

    def seeds_of(self, method: Method) -> tuple[int, ...]:
        """Seeds of the runs of a method; only the first for published weights, whose runs would all be equal."""
        return self.seeds if method.checkpoint is None else self.seeds[:1]

    def iterations_of(self, method: Method) -> int:
        """Iterations of the runs of a method, none of published weights."""
        return self.iterations if method.checkpoint is None else 0

    def runs(
        self,
        seeds: Sequence[int] | None = None,
        methods: Sequence[str] | None = None,
        data: Sequence[str] | None = None,
    ) -> Iterator[Run]:
        """The runs, seed by seed, so that a leaderboard cut short still compares all methods.

        Those of some seeds, methods or data sets alone, where they are given.
        """
        known = {name for block in self.blocks.values() for name in block.methods}
        for option, what, wanted, there in (
            ('--seeds', 'seed', seeds, set(self.seeds)),
            ('--methods', 'method', methods, known),
            ('--data', 'data set', data, set(self.data)),
        ):
            if unknown := [one for one in wanted or () if one not in there]:
                names = ', '.join(map(str, sorted(there)))
                raise UserError(
                    f"invalid {option} '{unknown[0]}' for {self.path}: expected a {what}, one of {names}"
                )
        for seed in self.seeds:
            for data_set in data or self.data:
                for block_name, block in self.blocks.items():
                    for name, method in block.methods.items():
                        chosen = (not seeds or seed in seeds) and (not methods or name in methods)
                        if chosen and seed in self.seeds_of(method):
                            yield Run(block_name, name, data_set, seed)
