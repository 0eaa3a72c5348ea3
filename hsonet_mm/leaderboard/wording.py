"""Figures as text, and what a table says in plain words."""

import math
from collections.abc import Collection, Mapping, Sequence

from hsonet_mm.leaderboard.board import Cell, Records
from hsonet_mm.leaderboard.bootstrap import RESAMPLES
from hsonet_mm.leaderboard.comparison import VERDICTS, Comparison, Interval
from hsonet_mm.leaderboard.records import run_key
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.summary import ONCE, Spread, Standing

__all__ = [
    'APART',
    'CHOSEN',
    'COSTS',
    'COVERED',
    'NONE',
    'PROTOCOLS',
    'PUBLISHED',
    'alike',
    'compared',
    'costs',
    'difference',
    'interval',
    'left_out',
    'mean',
    'percent',
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
"""Stands for what there is not."""
PROTOCOLS = {'whole': 'whole images', 'tiles_256': '256 tiles'}
THRESHOLDS = {'half': 'threshold 0.5', 'val': 'threshold chosen on val'}
FEW = 30
"""Percentile intervals of fewer images are somewhat too narrow."""

APART = (
    'Rows with ImageNet weights and rows from scratch stand in different blocks and are never compared: '
    'pre-training alone is worth several points.'
)
COVERED = (
    'Points of F1 to the reference of the block, on the seeds and the test images that both have, with two 95 % '
    'intervals. Over images, for these very runs: a paired bootstrap, which draws the test images with '
    f'replacement {RESAMPLES:,} times, the same for both methods and all their seeds. Over seeds, for these very '
    'images: Welch\'s t interval of the F1s of the seeds. "Better" and "worse" mean that both leave out 0; "over '
    'images, not over seeds" that the difference is significant over images only, or that there is one seed, so that '
    'other seeds may reverse it. Of twenty comparisons of equal methods, at most about one is expected to be called '
    'better or worse. Neither interval covers another data set, or that images of one place resemble each other, or '
    f'that many methods are compared; that over fewer than {FEW} images is somewhat too narrow.'
)
CHOSEN = (
    'The checkpoint of a run: highest F1 on validation at the threshold that is best there. The threshold "chosen '
    'on val": highest F1 on whole images of the validation split of the data that was trained on; it is chosen once '
    'a run and used for every protocol and every test set. The test splits have no say in either.'
)

PUBLISHED = (
    'Not comparable with ours, and often not with each other:',
    'splits, tiles, budgets, pre-training and selection differ. F1 of "changed" in percent as it is stated; a range '
    'where papers state different figures.',
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
    """A fraction in percent with its standard deviation; a dash for what there is not."""
    return quantity(value, 100, 2)


def quantity(value: Spread | None, factor: float = 1.0, digits: int = 1) -> str:
    """A mean and its standard deviation, times a factor; a dash for what there is not."""
    if value is None:
        return NONE
    std = NONE if value.std is None else f'{value.std * factor:.{digits}f}'
    mean = round(value.mean * factor, digits) + 0.0  # of a negative zero, a zero
    return f'{mean:,.{digits}f} ± {std}'


def difference(row: Standing, figure: str = 'f1') -> str:
    """Points to the reference, with a sign, and of which seeds if not of all.

    Args:
        row: The method.
        figure: ``f1``, or an object figure that is compared.
    """
    comparison = compared(row, figure)
    if row.is_reference:
        return 'reference'
    if comparison is None or math.isnan(comparison.difference):
        return NONE
    seeds = f' ({which_seeds(comparison.seeds)})' if len(comparison.seeds) < row.planned else ''
    return f'{_signed(comparison.difference)}{seeds}'


def compared(row: Standing, figure: str) -> Comparison | None:
    """The difference of a figure to the reference, if there is one."""
    return row.comparison if figure == 'f1' else row.object_comparisons.get(figure)


def interval(comparison: Comparison | None, kind: str) -> str:
    """Both ends in points of F1; says so if there is none.

    Args:
        comparison: Nothing is said where there is none.
        kind: ``images`` or ``seeds``.
    """
    if comparison is None:
        return ''
    if not comparison.seeds:
        return 'no seed in common'
    ends: Interval | None = getattr(comparison, f'over_{kind}')
    if ends is None:
        alone = 'one seed' if len(comparison.seeds) == 1 else 'seeds do not differ'
        return 'fewer than two images in common' if kind == 'images' else alone
    return f'{_signed(ends.low)} to {_signed(ends.high)}'


def mean(row: Standing, cost: str, factor: float = 1.0, digits: int = 1) -> str:
    """A cost that has no spread over seeds, times a factor; a dash for what was not measured."""
    value = row.costs.get(cost)
    return NONE if value is None else f'{value.mean * factor:,.{digits}f}'


def costs(row: Standing) -> list[str]:
    """What a method costs, in the order of COSTS; one number where it was measured once."""
    return [_cost(row, *how) for how in COSTS.values()]


def seeds(row: Standing) -> str:
    """How many of the planned runs stand behind a row, and how many failed."""
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


def progress(spec: Spec, records: Records) -> str:
    """How much of the spec has a result."""
    total = sum(1 for _ in spec.runs())
    done = len({run_key(row) for row in records.results})
    failed = f', {len(records.failures)} failed' if records.failures else ''
    return f'{done} of {total} runs have a result{failed}'


def left_out(records: Records) -> str:
    """How many scorings are part of no table, and why; empty if there is none."""
    return ', '.join(
        f'{count} scoring{"" if count == 1 else "s"} {why}' for why, count in records.left_out.items()
    )


def alike(cells: Sequence[Cell]) -> str:
    """Which tables are left out because they equal those of whole images; empty if none is."""
    names = '; '.join(map(table_name, cells))
    return f'Left out, as every count equals that of whole images: {names}.' if names else ''


def warnings(records: Records, tables: Mapping[Cell, Sequence[Standing]]) -> list[str]:
    """What spoils the tables of one block, data set and test set.

    Args:
        records: Of these tables alone.
        tables: The tables.
    """
    found = []
    files = {row['data_hash'] for row in records.results if row['split'] == 'test'} - {''}
    if len(files) > 1 or any(len(records.truths(cell)) > 1 for cell in tables):
        found.append(
            'Not all runs of this table are of the same files of the test set: their figures are not alike; '
            'differences are of the test images in common.'
        )
    scorings = max((row.scorings for rows in tables.values() for row in rows), default=0)
    if scorings > 1:
        found.append(f'Runs of this table were scored on the test split up to {scorings} times.')
    return found


def said(rows: Sequence[Standing], reference: str, changed_share: float | None) -> str:
    """Who is best, by how much against the reference, whether that is decided, and who is no better than a guess.

    It begins with "So far" where runs of the table are missing.

    Args:
        rows: Of one table, best first.
        reference: Of its block.
        changed_share: Share of the pixels of the test images that are changed, if it is known.
    """
    verdict = _verdict(rows, reference)
    if any(len(row.seeds) + len(row.failed) < row.planned for row in rows):
        verdict = f'So far {verdict[0].lower()}{verdict[1:]}'
    return ' '.join(filter(None, [verdict, _verdicts(rows), _guess(rows, changed_share)]))


def _verdict(rows: Sequence[Standing], reference: str) -> str:
    """Who is best, by how much against the reference, and whether that is decided."""
    scored = [row for row in rows if row.figures]
    if not scored:
        return 'No method has a result.'
    best = scored[0]
    name = f'the reference {best.method}' if best.is_reference else best.method
    score = f'F1 {percent(best.figures["f1"])} ({_done(best)} seed{"" if best.planned == 1 else "s"})'
    if len(scored) == 1:
        return f'Only {name} has a result: {score}. There is nothing to compare it with.'
    if not any(row.is_reference for row in scored):
        return f'Best is {name}: {score}. The reference {reference} has no result, so no difference is told.'
    other = scored[1] if best.is_reference else best
    subject = f'Next is {other.method}, which' if best.is_reference else 'It'
    base = 'it' if best.is_reference else f'the reference {reference}'
    return f'Best is {name}: {score}. {subject} {_against(other, base, len(scored) - 1)}'


def _verdicts(rows: Sequence[Standing]) -> str:
    """How many methods are better and worse than the reference; empty where fewer than two are compared."""
    found = [row.comparison.verdict for row in rows if row.comparison]
    if len(found) < 2:
        return ''
    parts = [f'{count} {word}' for word in VERDICTS if (count := found.count(word))]
    return f'Against the reference, of {len(found)} methods: {", ".join(parts)}.'


def _guess(rows: Sequence[Standing], changed_share: float | None) -> str:
    """The score of a map that calls everything changed, and who does not exceed it."""
    if not changed_share:
        return ''
    guess = 2 * changed_share / (1 + changed_share)
    below = [row.method for row in rows if row.figures and row.figures['f1'].mean <= guess]
    text = f'Calling every pixel changed would score F1 {100 * guess:.2f} here'
    return f'{text}; not above it: {", ".join(below)}.' if below else f'{text}.'


def _against(row: Standing, base: str, rivals: int) -> str:
    """The rest of a sentence: how the best of some methods does against the reference."""
    comparison = row.comparison
    if comparison is None:
        return f'cannot be compared with {base}: there are no counts by image.'
    if not comparison.seeds:
        return f'cannot be compared with {base}: they have no seed in common.'
    if not comparison.images:
        return f'cannot be compared with {base}: they have no image in common.'
    points = abs(100 * comparison.difference)
    where = 'above' if comparison.difference >= 0 else 'below'
    on = f' on {which_seeds(comparison.seeds)}' if len(comparison.seeds) < row.planned else ''
    text = f'scores {points:.2f} points {where} {base}{on}'
    if comparison.over_images is None:
        return f'{text}; with fewer than two images in common that cannot be decided.'
    known = comparison.over_seeds is not None
    over_seeds = (
        f'{interval(comparison, "seeds")} over seeds'
        if known
        else f'unknown over seeds ({interval(comparison, "seeds")})'
    )
    text += f', 95 % interval {interval(comparison, "images")} over images, {over_seeds}: '
    limits = [f'not corrected for the choice of the best among {rivals}'] if rivals > 1 else []
    if comparison.images < FEW:
        limits.append(f'over {comparison.images} images somewhat too narrow')
    return f'{text}{comparison.verdict}.' + (f' The intervals are {", and ".join(limits)}.' if limits else '')


def _cost(row: Standing, name: str, factor: float, digits: int) -> str:
    value = row.costs.get(name)
    once = name in ONCE and value is not None and value.std is None
    return mean(row, name, factor, digits) if once else quantity(value, factor, digits)


def _done(row: Standing) -> str:
    """Number of seeds with a result, and of how many if of more."""
    return f'{len(row.seeds)}' if len(row.seeds) == row.planned else f'{len(row.seeds)} of {row.planned}'


def _signed(value: float) -> str:
    text = f'{100 * value:+.2f}'
    return '0.00' if text in ('+0.00', '-0.00') else text.replace('-', '\N{MINUS SIGN}')
