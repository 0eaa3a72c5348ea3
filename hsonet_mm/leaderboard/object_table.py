"""The table of matched objects, with the differences to the reference in average precision and in F1."""

from collections.abc import Iterable

from hsonet_mm.evaluation.objects import MATCHED, MIN_AREA
from hsonet_mm.leaderboard.summary import COMPARED, OBJECTS, Standing
from hsonet_mm.leaderboard.wording import difference, interval, percent, seeds

__all__ = ['NOTE', 'object_table']

NOTE = (
    f'Objects are connected regions of {MIN_AREA} pixels or more; a predicted and a labelled one match where their '
    f'intersection over union exceeds {MATCHED}. AP ranks the predicted objects by their mean probability. The '
    'differences are in points of AP and F1, with intervals and verdicts as for pixels.'
)
NAMES = {'object_precision': 'P', 'object_recall': 'R', 'object_f1': 'F1', 'object_ap': 'AP'}


def object_table(rows: Iterable[Standing]) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table; there are no lines where no run has matched objects."""
    heads = ['method', 'seeds', *(NAMES[name] for name in OBJECTS)]
    for figure in COMPARED:
        heads += [f'{NAMES[figure]}: difference', '95 % over images', '95 % over seeds', 'verdict']
    return heads, [_line(row) for row in rows if 'object_ap' in row.figures]


def _line(row: Standing) -> list[str]:
    cells = [row.method, seeds(row), *(percent(row.figures[name]) for name in OBJECTS)]
    for figure in COMPARED:
        gap = row.object_comparisons.get(figure)
        cells += [difference(row, figure), *(interval(gap, kind) for kind in ('images', 'seeds'))]
        cells.append(gap.verdict if gap else '')
    return cells
