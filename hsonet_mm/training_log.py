"""Log, config and snapshots in the work directory of a training."""

import json
import re
from pathlib import Path
from typing import Any

__all__ = ['SHARES', 'SNAPSHOT', 'find_snapshots', 'read_log', 'training_config']

SNAPSHOT = 'snapshot_iter_{}.pth'
"""Names of the checkpoints that ``hsonet train --snapshots`` keeps."""
SHARES = {
    'eo_grad_foreground': ('foreground', '#2a78d6'),
    'eo_grad_hard_background': ('hard background', '#e6553c'),
    'eo_grad_easy_background': ('easy background', '#8a8a8a'),
}
"""Shares of the gradient in the log of EO-loss, which add up to 1: what they are called, and their colours in plots.

Blue, orange and grey are told apart by the colour-blind too."""


def read_log(work_dir: Path) -> list[dict[str, Any]]:
    """The training log of a work directory, one record per iteration, in order.

    Of a training that was killed and resumed, the values are those of the last time that it got to an iteration; of
    several runs in one work dir, the last one counts. Records have ``step``, the iteration, and whatever was logged at
    it, of training and validation together.
    """
    records: dict[int, dict[str, Any]] = {}
    for path in _logs(work_dir):
        config = path.with_name('config.py')
        if config.exists() and 'resume = False' in config.read_text(encoding='utf-8').splitlines():
            records.clear()
        for line in path.read_text(encoding='utf-8').splitlines(keepends=True):
            if line.endswith('\n'):  # a kill cuts off the last one
                record = json.loads(line)
                records.setdefault(record['step'], {}).update(record)
    return [records[step] for step in sorted(records)]


def find_snapshots(work_dir: Path) -> dict[int, Path]:
    """The snapshots of a training, by iteration, in order."""
    pattern = SNAPSHOT.format(r'(\d+)')
    names = ((re.fullmatch(pattern, path.name), path) for path in work_dir.glob(SNAPSHOT.format('*')))
    return dict(sorted((int(match[1]), path) for match, path in names if match))


def training_config(work_dir: Path) -> Path | None:
    """The config of the last training in a work directory, as MMEngine saved it beside its log, or None."""
    configs = (path.with_name('config.py') for path in reversed(_logs(work_dir)))
    return next((path for path in configs if path.is_file()), None)


def _logs(work_dir: Path) -> list[Path]:
    """The logs of all trainings in a work dir, oldest first."""
    return sorted(work_dir.glob('*/vis_data/scalars.json'))
