# Every target needs python3 and make only; the first run creates the environment, later runs reuse it.
PYTHON ?= python3
VENV ?= .venv
ORIGINAL ?= .venv-original
TORCHLESS ?= .venv-torchless
MINIMUM ?= .venv-minimum
MINIMUM_PYTHON ?= python3.10
OPENCD_PYTHON ?= python3

export PIP_REQUIRE_VIRTUALENV = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

# The headless OpenCV goes over the other one, which needs libGL and is named by the OpenMMLab packages.
HEADLESS = pip install --quiet --force-reinstall --no-deps -c constraints.txt opencv-python-headless

# Small tensors: one thread a process is fastest, and two processes share two cores. A process that dies ends the run.
PYTEST_ENV = OMP_NUM_THREADS=1
# A file stays in one worker, with its fixtures; files in their order, whose last ones are short.
PYTEST = pytest -n 2 --max-worker-restart=0 --dist loadfile --no-loadscope-reorder

.PHONY: demo docs test lint coverage check leaderboard-smoke test-original test-opencd test-torchless test-minimum clean

demo: $(VENV)/.installed
	$(VENV)/bin/hsonet demo --out demo_out

# The site, from docs/ and the docstrings, into build/site; a broken link or name fails.
docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

test: lint coverage

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

coverage: $(VENV)/.installed
	$(PYTEST_ENV) $(VENV)/bin/python -m $(PYTEST) --cov=hsonet_mm --cov-report=term-missing:skip-covered --cov-fail-under=90

# The same tests in about four fifths of the time: their lines are not traced.
check: $(VENV)/.installed
	$(PYTEST_ENV) $(VENV)/bin/python -m $(PYTEST)

# The harness from end to end: two methods, two seeds, a few iterations on demo data. What an earlier call left would
# count as done.
leaderboard-smoke: $(VENV)/.installed
	rm -rf leaderboard_smoke
	$(VENV)/bin/hsonet demo --data-only --pairs 4 2 2 --out leaderboard_smoke
	DEMO_CD_ROOT=leaderboard_smoke/data $(VENV)/bin/hsonet leaderboard configs/leaderboard/smoke.yaml --out leaderboard_smoke --workers 2

# The tests in which MMEngine or MMSegmentation takes part, on the original packages with mmcv-lite, where hsonet_mm cures
# what is broken. It runs from the checkout there: MMEngine 0.10 finds the configs of a package only where pip copied it,
# not of an editable one.
test-original: $(ORIGINAL)/.installed
	$(PYTEST_ENV) $(ORIGINAL)/bin/python -m $(PYTEST) -m "not any_host"

# The drop-in claims against real Open-CD: name a python that can `import opencd`. Then Open-CD's own configs of the
# baselines where it is not installed; they are read from OPENCD_ROOT or the folder above the package.
OPENCD_FOLDER = from importlib.util import find_spec; from pathlib import Path; print(Path(find_spec("opencd").origin).parents[1])
test-opencd: $(VENV)/.installed
	$(OPENCD_PYTHON) -m pytest -m opencd tests
	$(OPENCD_PYTHON) -m pytest tests/test_reference_outputs.py
	$(PYTEST_ENV) OPENCD_ROOT="$${OPENCD_ROOT:-$$($(OPENCD_PYTHON) -c '$(OPENCD_FOLDER)')}" PYTHONPATH= \
		$(VENV)/bin/python -m pytest -m opencd_configs tests

# Exported models where nothing else is installed.
test-torchless: $(VENV)/.installed $(TORCHLESS)/.installed
	HSONET_TORCHLESS_PYTHON=$(TORCHLESS)/bin/python $(VENV)/bin/python -m pytest tests/inference/test_torchless.py

# The tests, but for those of the documents, with the oldest Python and the oldest versions that pyproject.toml admits.
test-minimum: $(MINIMUM)/.installed
	$(PYTEST_ENV) $(MINIMUM)/bin/python -m $(PYTEST) --ignore tests/docs

$(VENV)/.installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -c constraints.txt torch
	$(VENV)/bin/pip install --quiet -c constraints.txt -e ".[standalone,pretrained,dev]"
	$(VENV)/bin/$(HEADLESS)
	touch $@

$(ORIGINAL)/.installed: constraints-original.txt
	$(PYTHON) -m venv $(ORIGINAL)
	$(ORIGINAL)/bin/pip install --quiet -c constraints-original.txt torch "setuptools<82" wheel
	$(ORIGINAL)/bin/pip install --quiet -c constraints-original.txt mmengine mmcv-lite mmsegmentation rasterio ftfy regex scikit-learn pandas pydantic jinja2 rich pytest pytest-xdist
	$(ORIGINAL)/bin/$(HEADLESS)
	touch $@

$(TORCHLESS)/.installed: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(TORCHLESS)
	$(TORCHLESS)/bin/pip install --quiet -c constraints.txt -e ".[onnx,geo]"
	touch $@

$(MINIMUM)/.installed: pyproject.toml setup.py
	$(MINIMUM_PYTHON) -m venv $(MINIMUM)
	$(MINIMUM)/bin/pip install --quiet uv
	$(MINIMUM)/bin/uv pip install --quiet --python $(MINIMUM)/bin/python --resolution lowest-direct -e ".[standalone,pretrained,dev]"
	$(MINIMUM)/bin/$(HEADLESS)
	touch $@

clean:
	rm -rf $(VENV) $(ORIGINAL) $(TORCHLESS) $(MINIMUM) demo_out leaderboard_smoke build *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage
