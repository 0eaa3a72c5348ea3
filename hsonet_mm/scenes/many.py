"""Many scenes, in this process or in several, here or on a Ray cluster."""

import json
import pickle
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.files import made_folder, unwritable
from hsonet_mm.scenes.listing import Scene, check_results
from hsonet_mm.scenes.model import ModelSpec
from hsonet_mm.scenes.record import SceneOptions
from hsonet_mm.scenes.scene import detect_scene
from hsonet_mm.workers import run_jobs

__all__ = [
    'MODEL_FAILED',
    'Outcome',
    'run_here',
    'run_scenes',
]

SHARES = 4
"""Jobs for each worker, so that one with slow scenes does not hold up the end."""

MODEL_FAILED = 2
"""Exit code of a worker whose model cannot be loaded."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a scene: its JSON summary (``fresh`` if computed now), or an error message."""

    scene: Scene
    summary: dict[str, Any] = field(default_factory=dict)
    error: str = ''
    fresh: bool = True


def run_scenes(
    model: ModelSpec,
    scenes: Sequence[Scene],
    options: SceneOptions,
    folder: Path,
    engine: str = 'local',
    workers: int | None = None,
    gpus: Sequence[int] = (),
    address: str | None = None,
) -> Generator[Outcome, None, None]:
    """Detect the changes of many scenes; one that fails does not stop the others.

    Without workers, GPUs or Ray all is done in this process. Otherwise scenes are dealt out to processes; when one of
    them ends before its scenes are done, these get a process each. Whoever stops iterating ends them. ``workers``,
    ``gpus`` and ``address`` are those of :func:`~hsonet_mm.workers.run_jobs`; on a cluster all machines share the
    folder, where jobs are noted while they run.

    Raises:
        UserError: if a result of one would take the place of one of another or of an input, or the model cannot be
            loaded.
    """
    check_results(scenes, options.polygons)
    if engine == 'local' and not gpus and workers in (None, 1):
        yield from run_here(model, scenes, options)
        return
    count = SHARES * (workers or len(gpus) or SHARES)
    shares = [scenes[start::count] for start in range(min(count, len(scenes)))]
    done = set[Scene]()
    with _jobs_folder(folder) as parts:
        for attempt in range(2):
            jobs = {
                _write_job(parts / f'{attempt}.{number}', model, share, options): share
                for number, share in enumerate(shares)
            }
            events = run_jobs(list(jobs), 'hsonet_mm.scenes.worker', engine, workers, gpus, address)
            with closing(events):
                for event in events:
                    if event.code is None:
                        continue
                    outcomes = list(_outcomes(event.job))
                    if event.code == MODEL_FAILED and not outcomes:
                        raise UserError(_last_line(event.job.with_name('log.txt')))
                    done.update(outcome.scene for outcome in outcomes)
                    yield from outcomes
                    lost = [scene for scene in jobs[event.job] if scene not in done]
                    if attempt:
                        reason = event.error or _last_line(event.job.with_name('log.txt'))
                        for scene in lost:
                            yield Outcome(scene, error=f'its process ended with code {event.code} ({reason})')
            shares = [[scene] for scene in scenes if scene not in done]


@contextmanager
def _jobs_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder for the jobs of this run; several runs may coexist."""
    with made_folder(folder):
        try:
            jobs = tempfile.TemporaryDirectory(prefix='.scenes.', dir=folder, ignore_cleanup_errors=True)
        except OSError as error:
            raise unwritable(folder, error) from None
        with jobs as name:
            yield Path(name)


def run_here(model: ModelSpec, scenes: Sequence[Scene], options: SceneOptions) -> Iterator[Outcome]:
    """Detect the changes of scenes one after the other in this process."""
    from hsonet_mm.mistakes import explain

    detector = model.load()
    for scene in scenes:
        try:
            result = detect_scene(detector, scene.before, scene.after, scene.output, options, model.paths)
            yield Outcome(scene, result.summary, fresh=result.fresh)
        except Exception as error:  # whatever it is, the other scenes go on
            yield Outcome(scene, error=explain(error) or f'{scene.output}: {type(error).__name__}: {error}')


def _write_job(folder: Path, model: ModelSpec, scenes: Sequence[Scene], options: SceneOptions) -> Path:
    """Write the job of a worker, readable by the user alone."""
    folder.mkdir()
    job = folder / 'job.pickle'
    job.write_bytes(pickle.dumps((model, scenes, options)))
    return job


def _outcomes(job: Path) -> Iterator[Outcome]:
    """The outcomes that a worker wrote, a line each; the last line may lack its end."""
    path = job.with_name('outcomes.jsonl')
    if path.is_file():
        for line in path.read_text(encoding='utf-8').splitlines(keepends=True):
            if line.endswith('\n'):
                values = json.loads(line)
                yield Outcome(**{**values, 'scene': Scene(**values['scene'])})


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding='utf-8', errors='replace').split('\n') if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), 'perhaps out of memory')[:200]
