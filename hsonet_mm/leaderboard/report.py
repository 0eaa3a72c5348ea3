"""The report of a leaderboard: one page, a Markdown file and a table, rebuilt from its CSVs in seconds."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hsonet_mm.demo.page import COLOURS, STYLE
from hsonet_mm.errors import UserError
from hsonet_mm.files import write_text
from hsonet_mm.leaderboard import wording
from hsonet_mm.leaderboard.board import Cell, Records, read_records
from hsonet_mm.leaderboard.bootstrap import RESAMPLES
from hsonet_mm.leaderboard.breakdown_table import breakdown_tables
from hsonet_mm.leaderboard.canvas import MISSING
from hsonet_mm.leaderboard.exports import APART, markdown, table_csv
from hsonet_mm.leaderboard.gallery import gallery
from hsonet_mm.leaderboard.plots import cost_plot, gradient_plot, pr_plot, styles, training_plot
from hsonet_mm.leaderboard.published import published_table
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.leaderboard.summary import Row, summarise

__all__ = ['write_report']

TEMPLATE = Path(__file__).with_name('page.html.j2')
Tables = Mapping[Cell, list[Row]]


def write_report(out: Path, pictures: bool = True) -> Path:
    """Write ``index.html``, ``report.md`` and ``summary.csv`` into the folder of a leaderboard.

    Only files of that folder are read, and for the pictures the data sets that its ``spec.yaml`` names. The
    same files give the same report to the byte.

    Args:
        out: Folder of the leaderboard.
        pictures: Draw the gallery where images and probabilities are there. Leave it out of a page that is
            passed on if the licence of the images forbids that.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: if the folder holds no leaderboard, one of its files is broken, or jinja2 or matplotlib is
            missing.
    """
    spec, records = read_spec(out / 'spec.yaml'), read_records(out)
    tables = summarise(spec, records)
    sections = [_section(out, spec, records, cells, pictures) for cells in _sections(tables)]
    blocks = _blocks(spec, sections)
    page = _environment().from_string(TEMPLATE.read_text(encoding='utf-8'))
    text = page.render(
        style=STYLE,
        spec=spec,
        spec_text=spec.path.read_text(encoding='utf-8'),
        apart=APART,
        facts=_facts(records),
        blocks=blocks,
        failures=records.failures,
        published=published_table(spec, sections),
        colours=COLOURS,
        resamples=f'{RESAMPLES:,}',
        pictures=pictures,
    )
    write_text(out / 'report.md', markdown(spec, records, blocks))
    write_text(out / 'summary.csv', table_csv(tables))
    write_text(out / 'index.html', text)
    return out / 'index.html'


def _sections(tables: Tables) -> list[dict[Cell, list[Row]]]:
    """The tables that belong together: of one block, data set and test set."""
    groups: dict[tuple[str, str, str], dict[Cell, list[Row]]] = {}
    for cell, rows in tables.items():
        groups.setdefault(cell[:3], {})[cell] = rows
    return list(groups.values())


def _section(
    out: Path, spec: Spec, records: Records, cells: Mapping[Cell, list[Row]], pictures: bool
) -> dict[str, Any]:
    """All that the page shows of one block, data set and test set."""
    order = [(protocol, rule) for protocol in wording.PROTOCOLS for rule in ('val', 'half')]
    cells = dict(
        sorted(
            cells.items(), key=lambda item: order.index(item[0][3:]) if item[0][3:] in order else len(order)
        )
    )
    cell, rows = next(iter(cells.items()))
    methods = [row.method for row in rows]
    block = next((block for block in spec.blocks if block.name == cell.block), None)
    reference = block.reference if block else ''
    named = [method.name for method in block.methods] if block else []
    looks = styles(dict.fromkeys([*named, *sorted(methods)]))
    mine = records.of(cell)
    home = cell.test_set == cell.data_set
    where = (
        f'trained and tested on {cell.data_set}'
        if home
        else f'trained on {cell.data_set}, tested on {cell.test_set}'
    )
    return {
        'cell': cell,
        'where': where,
        'how': wording.table_name(cell),
        'rows': rows,
        'scale': _scale(rows),
        'images': max((row.comparison.images for row in rows if row.comparison), default=0),
        'said': wording.said(rows, reference, mine.changed_share(cell)),
        'tables': [(wording.table_name(one), one_rows, _scale(one_rows)) for one, one_rows in cells.items()],
        'variants': [
            (method, [_f1(one_rows, method) for one_rows in cells.values()]) for method in methods
        ],
        'rescored': max((row.scorings for row in rows), default=0),
        'plots': [plot for cost in ('macs', 'latency_ms') if (plot := cost_plot(rows, cost, looks))],
        'pr': pr_plot(mine, cell.protocol, rows, looks),
        'breakdown': breakdown_tables(mine, methods, cell.threshold_rule),
        'training': training_plot(mine, rows, looks) if home else None,
        'gradients': [
            (method, plot) for method in methods if home and (plot := gradient_plot(mine, method))
        ],
        'gallery': gallery(out, spec, mine, cell, rows) if pictures and home else None,
        'home': home,
    }  # fmt: skip


def _blocks(spec: Spec, sections: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sections by block; a block without a run is there too."""
    references = {block.name: block.reference for block in spec.blocks}
    blocks: dict[str, list[dict[str, Any]]] = {name: [] for name in references}
    for section in sections:
        blocks.setdefault(section['cell'].block, []).append(section)
    return [
        {'name': name, 'reference': references.get(name, ''), 'sections': parts}
        for name, parts in blocks.items()
    ]


def _scale(rows: Iterable[Row]) -> float:
    """The largest distance from 0 of any interval, for drawing them to one scale."""
    ends = [abs(end) for row in rows if row.comparison for end in (row.comparison.low, row.comparison.high)]
    return max((end for end in ends if not math.isnan(end)), default=0) or 1.0


def _f1(rows: Iterable[Row], method: str) -> Row | None:
    return next((row for row in rows if row.method == method), None)


def _facts(records: Records) -> list[tuple[str, str]]:
    """What the figures come from, as name and value."""
    runs = {(row['block'], row['method'], row['data_set'], row['seed']) for row in records.results}
    facts = [('runs', f'{len(runs)} with a result, {len(records.failures)} failed')]
    for name, column in (
        ('iterations of a training', 'iterations'),
        ('device', 'device'),
        ('commit', 'commit'),
    ):
        values = list(dict.fromkeys(row[column] for row in records.results if row[column]))
        if values:
            facts.append((name, ', '.join(values)))
    last = max((row['scored_at'] for row in records.results), default='')
    return [*facts, ('last scored', last)] if last else facts


def _environment() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise UserError(MISSING.format(name='jinja2')) from None
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        'percent': wording.percent,
        'quantity': wording.quantity,
        'difference': wording.difference,
        'interval': wording.interval,
        'seeds': wording.seeds,
        'mean': wording.mean,
        'isnan': math.isnan,
    }
    return environment
