"""The report of a leaderboard: one page, a Markdown file and a table, rebuilt from its CSVs in seconds."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hsonet_mm.files import write_text
from hsonet_mm.leaderboard import object_table, wording
from hsonet_mm.leaderboard.board import Cell, Records, read_records
from hsonet_mm.leaderboard.breakdown_table import breakdown_tables
from hsonet_mm.leaderboard.comparison import SIGNIFICANT, Comparison
from hsonet_mm.leaderboard.gallery import gallery
from hsonet_mm.leaderboard.plots import cost_plot, gradient_plot, pr_plot, styles, training_plot
from hsonet_mm.leaderboard.published import published_table
from hsonet_mm.leaderboard.spec import Spec
from hsonet_mm.leaderboard.spec_file import read_spec
from hsonet_mm.leaderboard.summary import Standing, summarise
from hsonet_mm.leaderboard.summary_csv import summary_csv
from hsonet_mm.pages import render

__all__ = ['write_report']


def _shade(comparison: Comparison) -> str:
    """The class of a verdict on the page: ``better`` and ``worse`` are coloured if significant."""
    return comparison.verdict.split()[-1] if comparison.verdict in SIGNIFICANT else 'undecided'


FILTERS = {
    'percent': wording.percent,
    'quantity': wording.quantity,
    'difference': wording.difference,
    'interval': wording.interval,
    'seeds': wording.seeds,
    'test_scored': wording.test_scored,
    'plain': wording.plain,
    'shade': _shade,
}
Tables = Mapping[Cell, list[Standing]]


def write_report(out: Path, pictures: bool = True) -> Path:
    """Write ``index.html``, ``report.md`` and ``summary.csv`` into the folder of a leaderboard.

    Only files of that folder are read, and for the pictures the data sets that its ``spec.yaml`` names. The same files
    give the same report to the byte. Leave the pictures out of a page that is passed on if the licence of the images
    forbids that. Returns the path of ``index.html``.
    """
    spec = read_spec(out / 'spec.yaml')
    records = read_records(out, spec)
    tables = summarise(spec, records)
    sections = [_section(out, spec, records, cells, pictures) for cells in _sections(tables)]
    blocks, facts = _blocks(spec, sections), _facts(spec, records, tables)
    shown = {
        'filters': FILTERS,
        'spec': spec,
        'spec_text': spec.path.read_text(encoding='utf-8'),
        'wording': wording,
        'object_note': object_table.NOTE,
        'facts': facts,
        'blocks': blocks,
        'failures': records.failures,
        'published': published_table(spec, sections),
    }
    page, text = (render(f'leaderboard/{name}.j2', **shown) for name in ('page.html', 'report.md'))
    write_text(out / 'report.md', text)
    write_text(out / 'summary.csv', summary_csv(tables))
    write_text(out / 'index.html', page)
    return out / 'index.html'


def _sections(tables: Tables) -> list[dict[Cell, list[Standing]]]:
    """The tables that belong together: of one block, data set and test set."""
    groups: dict[tuple[str, str, str], dict[Cell, list[Standing]]] = {}
    for cell, rows in tables.items():
        groups.setdefault(cell[:3], {})[cell] = rows
    return list(groups.values())


def _section(
    out: Path, spec: Spec, records: Records, cells: Mapping[Cell, list[Standing]], pictures: bool
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
    block = spec.blocks[cell.block]
    looks = styles(block.methods)
    mine = records.of(cell)
    alike = _alike(mine, cells)
    shown = {one: cells[one] for one in cells if one not in alike}
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
        'images': max(map(len, mine.truths(cell)), default=0),
        'said': wording.said(rows, block.reference, mine.changed_share(cell)),
        'warnings': wording.warnings(mine, cells),
        'tables': [(wording.table_name(one), one_rows, _scale(one_rows)) for one, one_rows in shown.items()],
        'alike': wording.alike(alike),
        'objects': object_table.object_table(rows),
        'variants': [
            (row.method, [one for one_rows in shown.values() for one in one_rows if one.method == row.method])
            for row in rows
            if row.figures
        ],
        'plots': [plot for cost in ('macs', 'latency_ms') if (plot := cost_plot(rows, cost, looks))],
        'pr': pr_plot(mine, cell.protocol, rows, looks),
        'breakdown': breakdown_tables(mine, {row.method: row.seeds for row in rows}, cell.threshold_rule),
        'training': training_plot(mine, rows, looks) if home else None,
        'gradients': [
            (method, plot) for method in methods if home and (plot := gradient_plot(mine, method))
        ],
        'gallery': gallery(out, spec, mine, cell, rows) if pictures and home else None,
        'home': home,
    }  # fmt: skip


def _alike(records: Records, cells: Iterable[Cell]) -> list[Cell]:
    """The tables whose counts all equal those of whole images, because no image is larger than a tile."""
    counts = records.counts
    return [
        cell
        for cell in cells
        if cell.protocol != 'whole'
        and cell in counts
        and counts[cell] == counts.get(cell._replace(protocol='whole'))
    ]


def _blocks(spec: Spec, sections: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sections by block, and the data sets of which it has none yet."""
    blocks = []
    for name, block in spec.blocks.items():
        mine = [section for section in sections if section['cell'].block == name]
        begun = {section['cell'].data_set for section in mine}
        pending = [data_set for data_set in spec.data if data_set not in begun]
        blocks.append({'name': name, 'reference': block.reference, 'sections': mine, 'pending': pending})
    return blocks


def _scale(rows: Iterable[Standing]) -> float:
    """The largest distance from 0 of any interval over images, for drawing them to one scale."""
    intervals = [row.comparison.over_images for row in rows if row.comparison]
    return max((abs(end) for one in intervals if one for end in one), default=0) or 1.0


def _facts(spec: Spec, records: Records, tables: Tables) -> list[tuple[str, str]]:
    """Conditions of the results, as names and values; unknown ones are left out."""
    results = records.results
    facts = {
        'runs': wording.progress(spec, records),
        'left out': wording.left_out(records),
        'iterations of a run': str(spec.iterations),
        'device': _each(results['device']),
        'timed on': _each(row.timed_on for rows in tables.values() for row in rows),
        'commit': _each(results['commit']),
        'last scored': max(results['scored_at'], default=''),
    }
    return [(name, value) for name, value in facts.items() if value]


def _each(values: Iterable[str]) -> str:
    """Unique values in their order."""
    return ', '.join(filter(None, dict.fromkeys(values)))
