"""A process that works on some of many scenes: ``python -m hsonet_mm.scenes.worker JOB``."""

import json
import pickle
import sys
from dataclasses import asdict
from pathlib import Path

from hsonet_mm.errors import UserError
from hsonet_mm.scenes.many import MODEL_FAILED, run_here

__all__ = ['main']


def main(job: Path) -> int:
    """Process the scenes of a job and record the outcome of each in ``outcomes.jsonl`` beside it."""
    model, scenes, options = pickle.loads(job.read_bytes())
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
    sys.exit(main(Path(sys.argv[1])))
