"""Read a data set before a day of training is spent on it.

Every file is decoded; see :mod:`hsonet_mm.preparation.inspection` for the rules. Errors make the exit code 1,
warnings only with ``--strict``.
"""

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.files import write_bytes, write_json
from hsonet_mm.preparation.contact_sheet import contact_sheet
from hsonet_mm.preparation.inspection import (
    Finding,
    PairRecord,
    group_by_split,
    inspect_duplicates,
    inspect_pair,
    inspect_set,
)
from hsonet_mm.preparation.rasters import large_images, track
from hsonet_mm.preparation.sources import SPLITS, Source

__all__ = ['CheckReport', 'add_arguments', 'check_dataset', 'run']

_SHOWN = 10


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Args:
        layout: name of the set's layout.
        splits: pairs, sizes, shares and label codings of every split.
        findings: errors first.
    """

    layout: str
    splits: dict[str, dict[str, Any]]
    findings: list[Finding]

    def count(self, level: str) -> int:
        """Number of findings of a level."""
        return sum(finding.level == level for finding in self.findings)


def check_dataset(
    root: str | Path,
    crop: int = 256,
    duplicates: bool = True,
    sheet: str | Path | None = None,
    pairs: int = 6,
    seed: int = 0,
    ignore_value: int | None = None,
) -> CheckReport:
    """Check every pair, every split and the set.

    Args:
        root: folder or zip archive.
        crop: training crop size, pixels; 0: unknown.
        duplicates: whether to look for the same ground in several splits.
        sheet: png file to draw some pairs into.
        pairs: pairs a split on the sheet.
        seed: of their choice.
        ignore_value: label value that means "not labelled", as in :class:`hsonet_mm.MultiImgLoadAnnotations`; None:
            there is none.

    Raises:
        UserError: when there is nothing to check.
    """
    with Source(Path(root)) as source, large_images():
        layout, scenes = source.scenes()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            reading = pool.map(lambda scene: inspect_pair(source, scene, crop, ignore_value), scenes)
            records = list(track(reading, 'reading', len(scenes)))
        findings = [finding for record in records for finding in record.findings]
        findings += inspect_set(records, [split for split in SPLITS if Path(root, split).is_dir()])
        if duplicates:
            findings += inspect_duplicates(records)
        if sheet:
            write_bytes(Path(sheet), contact_sheet(source, records, pairs, seed, ignore_value))
    findings.sort(key=lambda finding: finding.level)  # 'error' before 'warning', else as found
    splits = {split: _statistics(group) for split, group in group_by_split(records).items()}
    return CheckReport(layout, splits, findings)


def _statistics(records: Sequence[PairRecord]) -> dict[str, Any]:
    known = [record for record in records if record.size and record.changed is not None]
    pixels = sum(record.size[0] * record.size[1] for record in known if record.size)
    sizes = Counter(f'{record.size[1]}x{record.size[0]}' for record in records if record.size)
    return {
        'pairs': len(records),
        'sizes': dict(sizes.most_common()),
        'changed_share': round(sum(record.changed or 0 for record in known) / pixels, 6) if pixels else None,
        'empty_share': round(sum(record.changed == 0 for record in known) / len(known), 6) if known else None,
        'labels': dict(Counter(record.coding for record in records if record.coding).most_common()),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the tool's arguments."""
    add = parser.add_argument
    add(
        'root',
        type=Path,
        help='data set: {train,val,test}/{A,B,label}, or another known layout, or a zip of it',
    )
    add('--crop', type=int, default=256, help='training crop size, pixels; 0: do not compare [%(default)s]')
    add('--ignore-value', type=int, help='label value that means "not labelled", as ignore_value in training')
    add('--no-duplicates', action='store_true', help='do not look for the same ground in several splits')
    add('--json', type=Path, help='write all findings to this file')
    add('--contact-sheet', type=Path, help='draw some pairs into this png')
    add('--pairs', type=int, default=6, help='pairs a split on the contact sheet [%(default)s]')
    add('--seed', type=int, default=0, help='of their choice [%(default)s]')
    add('--strict', action='store_true', help='warnings count as problems too')


def run(args: argparse.Namespace) -> int:
    """Check a data set from parsed arguments and print the report.

    Returns:
        0: fine; 1: problems found.

    Raises:
        UserError: when there is nothing to check.
    """
    if args.crop < 0 or args.pairs < 1:
        raise UserError(f'--crop {args.crop} --pairs {args.pairs}: use positive numbers')
    report = check_dataset(
        args.root,
        args.crop,
        not args.no_duplicates,
        args.contact_sheet,
        args.pairs,
        args.seed,
        args.ignore_value,
    )
    failed = bool(report.count('error') or (args.strict and report.findings))
    print(_text(report, args.root))
    if args.json:
        content = {'root': str(args.root), 'failed': failed, **asdict(report)}
        write_json(args.json, content)
    for path in filter(None, (args.json, args.contact_sheet)):
        print(f'written: {path}')
    print('problems found' if failed else 'fine')
    return int(failed)


def _text(report: CheckReport, root: Path) -> str:
    lines = [
        f'{root}: layout {report.layout}',
        f'{"split":<6}{"pairs":>7}{"changed":>10}{"empty":>9}  {"size":<12}labels',
    ]
    for split, row in report.splits.items():
        changed, empty = (
            f'{row[key]:.2%}' if row[key] is not None else '-' for key in ('changed_share', 'empty_share')
        )
        size = 'mixed' if len(row['sizes']) > 1 else ''.join(row['sizes'])
        labels = ', '.join(coding for coding in row['labels'] if coding != 'empty')
        lines.append(f'{split:<6}{row["pairs"]:>7}{changed:>10}{empty:>9}  {size:<12}{labels}')
    lines.append(f'{report.count("error")} errors, {report.count("warning")} warnings')
    shown: Counter[tuple[str, str]] = Counter()
    for finding in report.findings:
        shown[finding.level, finding.kind] += 1
        if shown[finding.level, finding.kind] <= _SHOWN:
            lines.append(f'{finding.level}: {finding.message}')
    for (level, kind), count in shown.items():
        if count > _SHOWN:
            lines.append(f'{level}: {count - _SHOWN} more of the kind "{kind}": --json lists all')
    return '\n'.join(lines)
