"""Figures as text, and what a table says in plain words."""

import math
from collections.abc import Collection, Mapping, Sequence

from hsonet_mm.leaderboard.board import Cell, Records, rows_of
from hsonet_mm.leaderboard.bootstrap import RESAMPLES
from hsonet_mm.leaderboard.comparison import VERDICTS, Comparison, Interval
from hsonet_mm.leaderboard.records import Run
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.summary import ONCE, Spread, Standing
from hsonet_mm.texts import counted

__all__ = [
    'APART',
    'CHOSEN',
    'COSTS',
    'COVERED',
    'NONE',
    'PROTOCOLS',
    'PUBLISHED',
    'alike',
    'costs',
    'difference',
    'interval',
    'left_out',
    'percent',
    'plain',
    'progress',
    'quantity',
    'said',
    'seeds',
    'table_name',
    'test_scored',
    'warnings',
    'which_seeds',
]

NONE = '\N{EN DASH}'
"""Stands for a missing value."""
PROTOCOLS = {'whole': 'whole images', 'tiles_256': '256 tiles'}
THRESHOLDS = {'half': 'threshold 0.5', 'val': 'threshold chosen on val'}
APART = (
    'Methods with ImageNet weights, methods from scratch and published weights are in separate blocks and are never '
    'compared: pre-training alone is worth several points.'
)
COVERED = (
    'Points of F1 above or below the reference of the block, on the seeds and test images that both have, with two '
    f'95 % intervals. Over images: a paired bootstrap ({RESAMPLES:,} resamples of the test images), for these trained '
    'weights. Over seeds: Welch\'s t interval of the F1 of the seeds, for these images. "Significantly better" or '
    '"worse": both intervals exclude 0. "Significant over images, not over seeds": only the interval over images does, '
    'so other seeds may reverse the difference. Neither interval accounts for other data sets, for the similarity of '
    'images of one place or for the number of methods compared; with fewer than 30 images the interval over images is '
    'too narrow.'
)
CHOSEN = (
    'The checkpoint of a run is the one with the highest F1 on validation at its best threshold. The threshold '
    '"chosen on val" has the highest F1 on whole validation images of the training data; it is chosen once per run and '
    'used for every protocol and test set. The test splits select neither.'
)

PUBLISHED = (
    'Not comparable with ours, and often not with each other:',
    'splits, tiles, budgets, pre-training and selection differ. F1 of "changed" in percent, as stated in the papers; a '
    'range where they disagree.',
)
COSTS = {
    'M parameters': ('parameters', 1e-6, 3),
    'GMACs': ('macs', 1e-9, 3),
    'latency, ms': ('latency_ms', 1, 1),
    'pairs a second': ('throughput', 1, 1),
    'peak memory, MiB': ('peak_memory_mib', 1, 0),
    'training, min': ('train_seconds', 1 / 60, 1),
    'harness, min': ('harness_seconds', 1 / 60, 2),
}
"""Columns of a table of costs: which cost, times what, with how many digits."""


def table_name(cell: Cell) -> str:
    """How a table was scored, in words."""
    protocol = PROTOCOLS.get(cell.protocol, cell.protocol)
    return f'{protocol}, {THRESHOLDS.get(cell.threshold_rule, cell.threshold_rule)}'


def percent(value: Spread | None) -> str:
    """A fraction in percent with its standard deviation; a dash if it is missing."""
    return quantity(value, 100, 2)


def quantity(value: Spread | None, factor: float = 1.0, digits: int = 1) -> str:
    """A mean and its standard deviation, times a factor; a dash if they are missing."""
    if value is None:
        return NONE
    std = NONE if value.std is None else f'{value.std * factor:.{digits}f}'
    mean = round(value.mean * factor, digits) + 0.0  # of a negative zero, a zero
    return f'{mean:,.{digits}f} ± {std}'


def difference(row: Standing, figure: str = 'f1') -> str:
    """Points to the reference, with a sign, and of which seeds if not of all; of an object figure likewise."""
    comparison = row.comparison if figure == 'f1' else row.object_comparisons.get(figure)
    if row.is_reference:
        return 'reference'
    if comparison is None or math.isnan(comparison.difference):
        return NONE
    seeds = f' ({which_seeds(comparison.seeds)})' if len(comparison.seeds) < row.planned else ''
    return f'{_signed(comparison.difference)}{seeds}'


def interval(comparison: Comparison | None, kind: str) -> str:
    """Both ends of the interval over ``images`` or ``seeds`` in points of F1, or why there is none."""
    if comparison is None:
        return ''
    if not comparison.seeds:
        return 'no seed in common'
    if not comparison.images:
        return 'no image in common'
    ends: Interval | None = getattr(comparison, f'over_{kind}')
    if ends is None:
        alone = 'one seed' if len(comparison.seeds) == 1 else 'seeds do not differ'
        return 'fewer than two images in common' if kind == 'images' else alone
    return f'{_signed(ends.low)} to {_signed(ends.high)}'


def costs(row: Standing) -> list[str]:
    """What a method costs, in the order of COSTS; one number where it was measured once."""
    return [_cost(row, *how) for how in COSTS.values()]


def seeds(row: Standing) -> str:
    """How many of the planned runs of a row are finished, and how many failed."""
    if not row.seeds and not row.failed:
        return 'no run yet'
    if len(row.failed) == row.planned:
        return 'failed' if row.planned == 1 else f'all {row.planned} failed'
    return f'{_done(row)}, {len(row.failed)} failed' if row.failed else _done(row)


def which_seeds(seeds: Collection[int]) -> str:
    """Seeds by their numbers, ascending."""
    return f'seed{"" if len(seeds) == 1 else "s"} {", ".join(map(str, sorted(seeds)))}'


def test_scored(row: Standing) -> str:
    """How often a run of a row was scored on the test split."""
    return f'{row.scorings} \N{MULTIPLICATION SIGN}' if row.scorings else NONE


def plain(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    for mark in ('\\', '|', '`', '*', '_', '<', '['):
        text = text.replace(mark, f'\\{mark}')
    return ' '.join(text.split())


def progress(spec: Spec, records: Records) -> str:
    """How much of the spec has a result."""
    total = sum(1 for _ in spec.runs())
    done = len(records.results.drop_duplicates(list(Run._fields)))
    failed = f', {len(records.failures)} failed' if records.failures else ''
    return f'{done} of {total} runs have a result{failed}'


def left_out(records: Records) -> str:
    """How many scorings are part of no table, and why; empty if there is none."""
    return ', '.join(f'{counted(count, "scoring")} {why}' for why, count in records.left_out.items())


def alike(cells: Sequence[Cell]) -> str:
    """Which tables are left out because they equal those of whole images; empty if none is."""
    names = '; '.join(map(table_name, cells))
    return f'Left out, as every count equals that of whole images: {names}.' if names else ''


def warnings(records: Records, tables: Mapping[Cell, Sequence[Standing]]) -> list[str]:
    """Warnings about the tables of one block, data set and test set."""
    found = []
    if any(row.weights == 'published' for rows in tables.values() for row in rows):
        found.append(
            'Published weights, 0 iterations here: trained elsewhere, under another protocol and perhaps on other '
            'data. Each is a single run, so nothing is known about other seeds.'
        )
    files = set(rows_of(records.results, split='test')['data_hash']) - {''}
    if len(files) > 1 or any(len(records.truths(cell)) > 1 for cell in tables):
        found.append(
            'The runs of this table were not all scored on the same test files, so their scores are not comparable; '
            'differences are computed on the test images in common.'
        )
    scorings = max((row.scorings for rows in tables.values() for row in rows), default=0)
    if scorings > 1:
        found.append(f'Runs of this table were scored on the test split up to {scorings} times.')
    return found


def said(rows: Sequence[Standing], reference: str, changed_share: float | None) -> str:
    """The best method, its difference to the reference with the verdict, and the methods no better than a guess."""
    scored = [row for row in rows if row.figures]
    if not scored:
        return 'No method has a result.'
    best = scored[0]
    complete = all(len(row.seeds) + len(row.failed) >= row.planned for row in rows)
    sentences = [
        f'Best{"" if complete else " so far"}: {best.method}, F1 {percent(best.figures["f1"])} (seeds: {_done(best)}).'
    ]
    others = [row for row in scored if not row.is_reference]
    compared = [row.comparison for row in others if row.comparison]
    if len(others) == len(scored):
        sentences.append(f'The reference {reference} has no result.')
    elif others:
        sentences.append(_against(others[0], reference))
    if len(compared) > 1:
        verdicts = [one.verdict for one in compared]
        counts = ', '.join(f'{count} {word}' for word in VERDICTS if (count := verdicts.count(word)))
        sentences.append(
            f'Against {reference}: {counts} (not corrected for the number of comparisons, {len(compared)}).'
        )
    if changed_share:
        guess = 2 * changed_share / (1 + changed_share)
        below = [row.method for row in scored if row.figures['f1'].mean <= guess]
        no_better = f'; not above it: {", ".join(below)}' if below else ''
        sentences.append(f'Predicting every pixel as changed scores F1 {100 * guess:.2f}{no_better}.')
    return ' '.join(sentences)


def _against(row: Standing, reference: str) -> str:
    """The difference of a method to the reference, with both intervals."""
    comparison = row.comparison
    if comparison is None:
        return f'{row.method} and {reference} cannot be compared: there are no counts by image.'
    if not comparison.seeds or not comparison.images:
        return f'{row.method} and {reference} have no {"image" if comparison.seeds else "seed"} in common.'
    over = ', '.join(f'over {kind}: {interval(comparison, kind)}' for kind in ('images', 'seeds'))
    return f'{row.method} against {reference}: {difference(row)} points (95 % {over}): {comparison.verdict}.'


def _cost(row: Standing, name: str, factor: float, digits: int) -> str:
    value = row.costs.get(name)
    if name in ONCE and value is not None and value.std is None:
        return f'{value.mean * factor:,.{digits}f}'
    return quantity(value, factor, digits)


def _done(row: Standing) -> str:
    """Number of seeds with a result, and of how many if of more."""
    return f'{len(row.seeds)}' if len(row.seeds) == row.planned else f'{len(row.seeds)} of {row.planned}'


def _signed(value: float) -> str:
    text = f'{100 * value:+.2f}'
    return '0.00' if text in ('+0.00', '-0.00') else text.replace('-', '\N{MINUS SIGN}')
