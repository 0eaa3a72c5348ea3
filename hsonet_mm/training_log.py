"""The log that MMEngine writes of a training."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ['read_log']


def read_log(work_dir: Path) -> list[dict[str, Any]]:
    """What was logged in a work dir, a record for each iteration, in order.

    Of a training that was killed and resumed, the values are those of the last time that it got to an iteration; of
    several runs in one work dir, the last one counts.

    Args:
        work_dir: Work dir of the training.

    Returns:
        Records with ``step``, the iteration, and whatever was logged at it, of training and validation together;
        empty where there is no log.
    """
    records: dict[int, dict[str, Any]] = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        if _began_anew(path.with_name('config.py')):
            records.clear()
        for line in _whole_lines(path):
            record = json.loads(line)
            records.setdefault(record['step'], {}).update(record)
    return [records[step] for step in sorted(records)]


def _began_anew(config: Path) -> bool:
    """Whether the config that MMEngine writes beside a log says that nothing was resumed."""
    return config.exists() and 'resume = False' in config.read_text(encoding='utf-8').splitlines()


def _whole_lines(path: Path) -> Iterable[str]:
    """The lines of a log, without a last one that a kill cut off."""
    return (
        line for line in path.read_text(encoding='utf-8').splitlines(keepends=True) if line.endswith('\n')
    )
