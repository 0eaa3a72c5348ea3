"""Check a data set before training on it.

Every file is decoded, and how the labels are coded is written down beside them (``labels.json``); see
:mod:`hsonet_mm.preparation.inspection` for the rules. Errors make the exit code 1, warnings only with ``--strict``.
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
from hsonet_mm.files import require_writable, write_bytes, write_json
from hsonet_mm.images import Reading, add_reading_arguments, reading_of
from hsonet_mm.index import SPLITS, SceneFiles, some
from hsonet_mm.labels import CODING_FILE, LabelSurvey, add_label_arguments, parse_values, write_survey
from hsonet_mm.preparation.contact_sheet import contact_sheet
from hsonet_mm.preparation.inspection import (
    Finding,
    PairRecord,
    figures_of,
    group_by_split,
    inspect_duplicates,
    inspect_pair,
    inspect_set,
)
from hsonet_mm.preparation.label_files import find_coding
from hsonet_mm.preparation.sources import Source
from hsonet_mm.progress import track
from hsonet_mm.texts import counted

__all__ = ['CheckReport', 'add_arguments', 'check_dataset', 'run']

_SHOWN = 10


@dataclass(frozen=True)
class CheckReport:
    """Result of a check, errors first."""

    layout: str
    root: str
    labels: LabelSurvey
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
    changed_values: Any = None,
    ignore_value: Any = None,
    reading: Reading | None = None,
) -> CheckReport:
    """Check every pair, every split and the set.

    Args:
        root: folder or zip archive.
        crop: training crop size, pixels; 0: unknown.
        duplicates: whether to look for the same ground in several splits.
        sheet: png file to draw some pairs into.
        pairs: pairs a split on the sheet.
        seed: of their choice.
        changed_values: label values that mean changed, as in :class:`hsonet_mm.MultiImgLoadAnnotations`; None: as
            ``labels.json`` says, or inferred from all labels.
        ignore_value: label value that means "not labelled".
        reading: bands, stretch and nodata of the images.
    """
    with Source(Path(root)) as source:
        index = source.scenes()
        survey = find_coding(source, index, parse_values(changed_values), parse_values(ignore_value))

        def inspect(scene: SceneFiles) -> PairRecord:
            return inspect_pair(source, scene, crop, survey.coding, survey.problems, reading)

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            records = list(track(pool.map(inspect, index.scenes), 'reading', len(index.scenes)))
        findings = [finding for record in records for finding in record.findings]
        findings += inspect_set(records, [split for split in SPLITS if Path(root, split).is_dir()])
        if index.unlisted:
            message = f'{counted(len(index.unlisted), "pair")} in no split: {some(index.unlisted)}'
            findings.append(
                Finding('warning', 'unlisted', '', f'{message}: add them to one if they are to be used')
            )
        if duplicates:
            findings += inspect_duplicates(records)
        if sheet:
            write_bytes(Path(sheet), contact_sheet(source, records, pairs, seed, survey.coding, reading))
    findings.sort(key=lambda finding: finding.level)  # 'error' before 'warning', else as found
    splits = {split: _statistics(group) for split, group in group_by_split(records).items()}
    survey = LabelSurvey(survey.coding, figures_of(records), survey.problems)
    return CheckReport(index.layout, index.root, survey, splits, findings)


def _statistics(records: Sequence[PairRecord]) -> dict[str, Any]:
    known = [record for record in records if record.size and record.changed is not None]
    pixels = sum(record.labelled for record in known)
    sizes = Counter(f'{record.size[1]}x{record.size[0]}' for record in records if record.size)
    return {
        'pairs': len(records),
        'sizes': dict(sizes.most_common()),
        'changed_share': round(sum(record.changed or 0 for record in known) / pixels, 6) if pixels else None,
        'empty_share': round(sum(record.changed == 0 for record in known) / len(known), 6) if known else None,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``hsonet check``."""
    add = parser.add_argument
    add(
        'root',
        type=Path,
        help='data set: {train,val,test}/{A,B,label}, or another known layout, or a zip of it',
    )
    add(
        '--crop',
        type=int,
        default=256,
        help='size of the training crops in pixels; 0: not checked [%(default)s]',
    )
    add_label_arguments(parser)
    add('--no-duplicates', action='store_true', help='do not look for the same ground in several splits')
    add('--json', type=Path, help='write all findings to this file')
    add('--contact-sheet', type=Path, help='draw some pairs into this PNG file')
    add('--pairs', type=int, default=6, help='pairs per split on the contact sheet [%(default)s]')
    add('--seed', type=int, default=0, help='random seed of their choice [%(default)s]')
    add('--strict', action='store_true', help='exit with code 1 for warnings too')
    add_reading_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``hsonet check`` and print the report; returns 0, or 1 if problems were found."""
    if args.crop < 0 or args.pairs < 1:
        raise UserError(f'invalid --crop {args.crop} --pairs {args.pairs}: expected positive numbers')
    if args.contact_sheet and args.contact_sheet.suffix.lower() != '.png':
        raise UserError(f'invalid --contact-sheet {args.contact_sheet}: expected a name that ends in .png')
    require_writable(args.json, args.contact_sheet)
    report = check_dataset(
        args.root,
        args.crop,
        not args.no_duplicates,
        args.contact_sheet,
        args.pairs,
        args.seed,
        args.changed_values,
        args.ignore_value,
        reading_of(args),
    )
    failed = bool(report.count('error') or (args.strict and report.findings))
    print(_text(report, args.root))
    if args.json:
        content = {'root': str(args.root), 'failed': failed, 'labels': str(report.labels.coding)}
        written = {key: value for key, value in asdict(report).items() if key not in ('root', 'labels')}
        write_json(args.json, content | written)
    for path in filter(None, (args.json, args.contact_sheet, _write_coding(report, args.root))):
        print(f'written: {path}')
    print('problems found' if failed else 'fine')
    return int(failed)


def _write_coding(report: CheckReport, root: Path) -> Path | None:
    """Write the label coding where training finds it, unless it is uncertain; returns the file."""
    known = sum(figures.labels for figures in report.labels.splits.values())
    if report.labels.problems or not root.is_dir() or not known:
        return None
    if not any(figures.changed for figures in report.labels.splits.values()):
        return None
    path = root / report.root / CODING_FILE
    try:
        write_json(path, write_survey(report.labels))
    except UserError as error:
        print(f'warning: the label coding is not recorded: {error}')
        return None
    return path


def _text(report: CheckReport, root: Path) -> str:
    lines = [
        f'{root}: layout {report.layout}, labels {report.labels.coding}',
        f'{"split":<6}{"pairs":>7}{"changed":>10}{"empty":>9}  size',
    ]
    for split, row in report.splits.items():
        changed, empty = (
            f'{row[key]:.2%}' if row[key] is not None else '-' for key in ('changed_share', 'empty_share')
        )
        size = 'mixed' if len(row['sizes']) > 1 else ''.join(row['sizes'])
        lines.append(f'{split:<6}{row["pairs"]:>7}{changed:>10}{empty:>9}  {size}')
    lines.append(', '.join(counted(report.count(kind), kind) for kind in ('error', 'warning')))
    shown: Counter[tuple[str, str]] = Counter()
    for finding in report.findings:
        shown[finding.level, finding.kind] += 1
        if shown[finding.level, finding.kind] <= _SHOWN:
            lines.append(f'{finding.level}: {finding.message}')
    for (level, kind), count in shown.items():
        if count > _SHOWN:
            lines.append(f'{level}: {count - _SHOWN} more of the kind "{kind}": --json lists all')
    return '\n'.join(lines)
