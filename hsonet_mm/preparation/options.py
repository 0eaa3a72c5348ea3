"""The options of ``hsonet prepare``."""

from dataclasses import dataclass, field

from hsonet_mm.errors import UserError
from hsonet_mm.images import Reading
from hsonet_mm.index import ROLES
from hsonet_mm.labels import Value
from hsonet_mm.preparation.tiling import BORDERS

__all__ = ['PrepareOptions']


@dataclass(frozen=True)
class PrepareOptions:
    """How a source is cut and split.

    Args:
        tile: tile size, pixels.
        stride: distance between tiles, pixels; 0: the tile size.
        border: see :func:`hsonet_mm.preparation.tiling.offsets`.
        block: 0, or the size of the blocks that very large scenes are divided into before they are split,
            pixels.
        val: share of the scenes for val, for sources without this split.
        test: the same for test.
        seed: of the split and of the choice of empty tiles.
        max_empty: largest share of tiles without change in train, 0 to 1; 1 keeps all.
        changed_values: label values that mean changed, all others unchanged; empty: inferred from all masks.
        ignored_values: label values that mean "not labelled".
        folders: date 1, date 2 and mask as templates (:data:`hsonet_mm.index.LAYOUTS`); empty: find out.
        reading: bands, stretch and nodata of the images.
    """

    tile: int = 256
    stride: int = 0
    border: str = 'shift'
    block: int = 0
    val: float = 0.1
    test: float = 0.2
    seed: int = 0
    max_empty: float = 1.0
    changed_values: tuple[Value, ...] = ()
    ignored_values: tuple[Value, ...] = ()
    reading: Reading = field(default_factory=Reading)
    folders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tile < 1 or self.stride < 0 or self.block < 0:
            raise UserError(
                f'invalid --tile {self.tile} --stride {self.stride} --block {self.block} (0: none): expected positive '
                'numbers of pixels'
            )
        if 0 < self.block < self.tile:
            raise UserError(
                f'invalid --block {self.block}: expected at least the tile size {self.tile}, better '
                'several times that'
            )
        if not (0 <= self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise UserError(
                f'invalid --val {self.val} --test {self.test}: expected shares from 0 to 1 that leave '
                'something for train'
            )
        if not 0 <= self.max_empty <= 1:
            raise UserError(f'invalid --max-empty {self.max_empty}: expected a share from 0 to 1')
        if self.border not in BORDERS:
            raise UserError(f'invalid --border {self.border}: expected one of {", ".join(BORDERS)}')
        if self.folders and len(self.folders) != len(ROLES):
            raise UserError('--a, --b and --label require one another: give all three or none')
