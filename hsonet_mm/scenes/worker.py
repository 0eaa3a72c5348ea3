"""A process that works on some of many scenes: ``python -m hsonet_mm.scenes.worker JOB.json``."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.scenes.many import MODEL_FAILED, read_job, run_here

__all__ = ['main']


def main(argv: Sequence[str] | None = None) -> int:
    """Process the scenes of a job and record the outcome of each in ``outcomes.jsonl`` beside it."""
    parser = argparse.ArgumentParser(description='Some of many scenes.')
    parser.add_argument('job', type=Path, metavar='JOB.json')
    parser.add_argument('--started', type=float, help='when the process was started; not used')
    job = parser.parse_args(argv).job
    model, scenes, options = read_job(job)
    with job.with_name('outcomes.jsonl').open('a', encoding='utf-8') as file:
        try:
            for outcome in run_here(model, scenes, options):
                file.write(json.dumps(asdict(outcome)) + '\n')
                file.flush()
        except UserError as error:  # of the model
            print(error, file=sys.stderr)
            return MODEL_FAILED
    return 0


if __name__ == '__main__':
    sys.exit(main())
