"""What a leaderboard is made of: blocks of methods, data sets, seeds and one budget, and the runs that follow."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.leaderboard.records import RunKey

__all__ = ['Block', 'Method', 'Run', 'Spec', 'slug_of']


@dataclass(frozen=True)
class Method:
    """A method of a block.

    Attributes:
        config: File of its config, of which the model alone is used.
        options: Changes to the model, by dotted keys that begin with ``model.``
        checkpoint: File of published weights, as written: environment variables are not expanded; or the name of a
            model that comes with the package. Such a method is scored and not trained. None for one that is trained.
    """

    name: str
    config: Path
    options: Mapping[str, Any]
    checkpoint: str | None = None


@dataclass(frozen=True)
class Block:
    """Methods that are compared with each other.

    Attributes:
        reference: Name of the method that the others are compared with.
        recipe: File of the config of everything but the model.
        options: Changes to the config for every method of the block, by dotted keys.
    """

    name: str
    reference: str
    recipe: Path
    options: Mapping[str, Any]
    methods: tuple[Method, ...]

    @property
    def slug(self) -> str:
        """The name as a folder."""
        return slug_of(self.name)


@dataclass(frozen=True)
class Run:
    """One training and its scoring; of published weights the scoring alone."""

    block: Block
    method: Method
    data_set: str
    seed: int

    @property
    def key(self) -> RunKey:
        """What tells the run from the others."""
        return RunKey(self.block.name, self.method.name, self.data_set, self.seed)

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
        iterations: Iterations of every training; 0 where all weights are published.
        seeds: Seeds of the trainings of each method on each data set.
        data: Roots of the data sets that methods are trained on, and tested on, by name, as written: environment
            variables are not expanded.
        also_test: Roots, likewise, of the data sets that every checkpoint is tested on as well.
    """

    path: Path
    title: str
    iterations: int
    validations: int
    seeds: tuple[int, ...]
    data: Mapping[str, str]
    also_test: Mapping[str, str]
    blocks: tuple[Block, ...]

    def test_sets(self, data_set: str) -> Mapping[str, str]:
        """Roots of the data sets, by name, that what was trained on one of them is tested on."""
        return {data_set: self.data[data_set], **self.also_test}

    def seeds_of(self, method: Method) -> tuple[int, ...]:
        """Seeds of the runs of a method: of published weights the first alone, for a second run would be the same."""
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
        known = {method.name for block in self.blocks for method in block.methods}
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
                for block in self.blocks:
                    for method in block.methods:
                        chosen = (not seeds or seed in seeds) and (not methods or method.name in methods)
                        if chosen and seed in self.seeds_of(method):
                            yield Run(block, method, data_set, seed)


def slug_of(name: str) -> str:
    """The name of a block as that of a folder."""
    return re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')
