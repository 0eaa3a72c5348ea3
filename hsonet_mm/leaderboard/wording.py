"""Figures as text, and what a table says in plain words."""

import math
from collections.abc import Sequence

from hsonet_mm.leaderboard.board import Cell
from hsonet_mm.leaderboard.bootstrap import Comparison
from hsonet_mm.leaderboard.summary import Row, Spread

__all__ = [
    'NONE',
    'PROTOCOLS',
    'THRESHOLDS',
    'difference',
    'interval',
    'mean',
    'percent',
    'quantity',
    'said',
    'seeds',
    'table_name',
]

NONE = '\N{EN DASH}'
"""Stands for what there is not."""
PROTOCOLS = {'whole': 'whole images', 'tiles_256': '256 tiles'}
THRESHOLDS = {'half': 'threshold 0.5', 'val': 'threshold chosen on val'}


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
    return f'{value.mean * factor:,.{digits}f} ± {std}'


def difference(comparison: Comparison) -> str:
    """Points of F1, with a sign."""
    return _signed(comparison.difference)


def interval(comparison: Comparison) -> str:
    """Both ends in points of F1; says so if there is none."""
    if math.isnan(comparison.low):
        return 'fewer than two images in common'
    return f'{_signed(comparison.low)} to {_signed(comparison.high)}'


def mean(row: Row, cost: str, factor: float = 1.0, digits: int = 1) -> str:
    """A cost whose spread over seeds does not matter, times a factor; a dash for what was not measured."""
    value = row.costs.get(cost)
    return NONE if value is None else f'{value.mean * factor:,.{digits}f}'


def seeds(row: Row) -> str:
    """How many trainings stand behind a row."""
    if not row.failed:
        return str(len(row.seeds))
    if not row.seeds:
        return f'all {len(row.failed)} failed' if len(row.failed) > 1 else 'failed'
    return f'{len(row.seeds)}, {len(row.failed)} failed'


def said(rows: Sequence[Row], reference: str, changed_share: float | None) -> str:
    """Who is best, by how much against the reference, whether that is decided, and who is no better than a guess.

    Args:
        rows: Of one table, best first.
        reference: Of its block.
        changed_share: Share of the pixels of the test images that are changed, if it is known.
    """
    return ' '.join(filter(None, [_verdict(rows, reference), _verdicts(rows), _guess(rows, changed_share)]))


def _verdict(rows: Sequence[Row], reference: str) -> str:
    """Who is best, by how much against the reference, and whether that is decided."""
    scored = [row for row in rows if row.figures]
    if not scored:
        return 'No method has a result.'
    best = scored[0]
    name = f'the reference {best.method}' if best.is_reference else best.method
    count = len(best.seeds)
    score = f'F1 {percent(best.figures["f1"])} ({count} seed{"" if count == 1 else "s"})'
    if len(scored) == 1:
        return f'Only {name} has a result: {score}. There is nothing to compare it with.'
    if not any(row.is_reference for row in scored):
        return f'Best is {name}: {score}. The reference {reference} has no result, so no difference is told.'
    other = scored[1] if best.is_reference else best
    subject = f'Next is {other.method}, which' if best.is_reference else 'It'
    return f'Best is {name}: {score}. {subject} {_against(other, scored, reference)}'


def _verdicts(rows: Sequence[Row]) -> str:
    """How many methods are better and worse than the reference; empty where fewer than two are compared."""
    found = [row.comparison.verdict for row in rows if row.comparison]
    if len(found) < 2:
        return ''
    counts = {word: found.count(word) for word in ('better', 'worse', 'not decided')}
    parts = [f'{count} {word}' for word, count in counts.items() if count]
    return f'Against the reference, of {len(found)} methods: {", ".join(parts)}.'


def _guess(rows: Sequence[Row], changed_share: float | None) -> str:
    """The score of a map that calls everything changed, and who does not exceed it."""
    if not changed_share:
        return ''
    guess = 2 * changed_share / (1 + changed_share)
    below = [row.method for row in rows if row.figures and row.figures['f1'].mean <= guess]
    text = f'Calling every pixel changed would score F1 {100 * guess:.2f} here'
    return f'{text}; not above it: {", ".join(below)}.' if below else f'{text}.'


def _against(row: Row, rows: Sequence[Row], reference: str) -> str:
    """The rest of a sentence: how a method does against the reference."""
    comparison = row.comparison
    if comparison is None:
        return f'cannot be compared with the reference {reference}: there are no counts by image.'
    points = abs(100 * comparison.difference)
    where = 'above' if comparison.difference >= 0 else 'below'
    text = (
        f'scores {points:.2f} points {where} {"it" if rows[0].is_reference else f"the reference {reference}"}'
    )
    if math.isnan(comparison.low):
        return f'{text}; with fewer than two images in common that cannot be decided.'
    word = 'decided' if comparison.decided else 'not decided'
    return f'{text}, 95 % interval {interval(comparison)}: {word} on these images.{_caution(row, rows)}'


def _caution(row: Row, rows: Sequence[Row]) -> str:
    """What the seeds say to a difference that the images decide."""
    assert row.comparison
    base = next(one for one in rows if one.is_reference)
    spreads = [(one.figures['f1'].std, len(one.seeds)) for one in (row, base)]
    if any(std is None for std, _ in spreads):
        return ' With one seed nothing is known of how much another training would change it.'
    error = math.sqrt(sum(std**2 / count for std, count in spreads if std is not None))
    if row.comparison.decided and 2 * error >= abs(row.comparison.difference):
        return (
            f' But it also varies from training to training (standard error over the seeds {100 * error:.2f} '
            'points): more seeds are needed.'
        )
    return ''


def _signed(value: float) -> str:
    text = f'{100 * value:+.2f}'
    return '0.00' if text in ('+0.00', '-0.00') else text.replace('-', '\N{MINUS SIGN}')
