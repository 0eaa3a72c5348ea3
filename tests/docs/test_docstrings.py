"""The API reference is complete, and its examples run and print what they say."""

import doctest
import importlib
import re
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

PAGES = Path(__file__).parents[2] / 'docs/api'
NEEDED = {
    'explain.cam': ['captum'],
    'explain.features': ['sklearn'],
    'explain.views': ['captum'],
    'inference.detector': ['onnxruntime'],
    'scenes.scene': ['onnxruntime', 'pyogrio', 'rasterio'],
}
"""Module: the optional packages that its examples need."""
WITHOUT = (
    *('baselines.', 'engine.', 'export.', 'memory', 'opencd.', 'preparation.', 'viewer.'),
    *('datasets.loading', 'datasets.seeded_sampler', 'evaluation.hard_case_metric', 'evaluation.hard_cases'),
    *('models.detectors.change_tta_model', 'models.detectors.siam_encoder_decoder'),
)
"""May lack an example: what configs name and the runner calls, Open-CD's classes, what other pages show."""


def entries():
    """Names on the pages of the reference, each with its module."""
    found = {}
    for page in sorted(PAGES.glob('*.md')):
        for name in re.findall(r'^::: hsonet_mm\.([\w.]+)', page.read_text(), re.M):
            module, _, last = name.rpartition('.')
            found[name] = name if last == last.lower() and is_module(name) else module
    return found


def is_module(name):
    path = PAGES.parents[1] / 'hsonet_mm' / name.replace('.', '/')
    return path.with_suffix('.py').is_file() or path.is_dir()


ENTRIES = entries()


@pytest.mark.any_host
@pytest.mark.parametrize('name', sorted(set(ENTRIES.values())))
def test_examples(name, monkeypatch):
    # log messages carry the time, so they are no part of what an example prints
    monkeypatch.setattr('hsonet_mm.datasets.loading.print_log', lambda *_, **__: None)
    for package in NEEDED.get(name, ()):
        pytest.importorskip(package)
    try:
        module = importlib.import_module(f'hsonet_mm.{name}')
    except ModuleNotFoundError as error:
        pytest.skip(f'{error.name} is not installed')
    MMLogger.get_current_instance()  # writes to the stdout of now, not to that of the examples
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted >= 1 or name.startswith(WITHOUT)


INTERNAL = ('hsonet_mm.commands.', 'hsonet_mm.leaderboard.')
"""Where components are registered that commands put into configs themselves."""


@pytest.mark.any_host
def test_reference_has_every_registered_component():
    import hsonet_mm.components  # noqa: F401
    from hsonet_mm import registry
    from hsonet_mm.opencd import registry as registry_of_opencd

    missing, found = [], 0
    for one in (*vars(registry).values(), *vars(registry_of_opencd).values()):
        for component in getattr(one, '_module_dict', {}).values():
            if component.__module__.startswith('hsonet_mm.') and not component.__module__.startswith(
                INTERNAL
            ):
                found += 1
                module = component.__module__.removeprefix('hsonet_mm.')
                if not {module, f'{module}.{component.__name__}'} & set(ENTRIES):
                    missing.append(component.__name__)
    assert not missing
    assert found > 50
