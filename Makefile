# make tour    compare EfficientNet and EfficientNet-X on four accelerators and draw their roofline (tour/roofline.png)
# make test    the whole test suite
# make check   formatting, lint, types, tests: what a change must pass
# make docs    the pages and the API reference as a site in build/site, readable without a network
# make wheel   the wheel, in dist/: the same bytes for the same commit, whenever and wherever it is built
# make lock    requirements/test.lock: exact versions of everything that the tests install
# make audit   known vulnerabilities of those versions
# make test-pythons   the quick tests under every Python of PYTHONS that is found
# make test-all   hours: all of timm, transformers, torch's operators, ONNX's node tests, damaged files, wild words, kills, the service, mutants; docs/test-all.md
# make bench   every benchmark beside its baselines; docs/benchmarks.md
# make notebooks   run the notebooks and store their outputs
# make accuracy MEASUREMENTS=FOLDER   docs/accuracy.md from published measurements (docs/calibration.md)
# Every target sets itself up in .venv; stamp files keep it from doing so twice.
# PYTHON=/path/to/python picks the interpreter.

ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if "$$p" -c '$(ENOUGH)' >/dev/null 2>&1; then echo "$$p"; break; fi; done)
BIN := .venv/bin

TOUR_MODELS := efficientnet-b0 efficientnet-x-b0 efficientnet-b3 efficientnet-x-b3 efficientnet-b5 efficientnet-x-b5 \
	efficientnet-b7 efficientnet-x-b7
TOUR_DEVICES := tpu-v2 tpu-v3 tpu-v4i v100

.PHONY: help tour test check format clean accuracy notebooks docs wheel lock audit test-pythons test-all bench
help:
	@sed -n '1,14s/^# //p' Makefile

tour: .venv/installed
	@mkdir -p tour
	@$(BIN)/roofline compare $(TOUR_MODELS) $(TOUR_DEVICES:%=--device %) --batch 128 --runtime v100=tensorflow \
		--output tour/roofline.png --force

test: .venv/installed-test
	$(BIN)/python -m pytest

check: .venv/installed-test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/python -m pytest

notebooks: .venv/installed-test
	$(BIN)/python tools/execute_notebooks.py

docs: .venv/installed-docs
	$(BIN)/python -m mkdocs build --strict

PARTS ?=
test-all: .venv/installed-test
	$(BIN)/python benchmarks/everything.py $(PARTS)

# another simulator, in an environment of its own: it wants an old numpy
bench: .venv/installed-test .venv/installed-scalesim
	$(BIN)/python -W ignore benchmarks/bench.py --scalesim "$(CURDIR)/.venv/scalesim/bin/python"

.venv/installed-scalesim: .venv/created
	@"$(PYTHON)" -m venv .venv/scalesim
	@.venv/scalesim/bin/python -m pip install --quiet --disable-pip-version-check scalesim==3.0.0 "numpy<2" "pandas<3"
	@touch $@

# hatchling sorts the files and stamps all of them with SOURCE_DATE_EPOCH, or one fixed day where it is not set
wheel: .venv/installed-test
	$(BIN)/python -m build --wheel --no-isolation

lock: .venv/installed-tools
	$(BIN)/uv pip compile pyproject.toml --extra test --universal --python-version 3.11 --upgrade --quiet \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --output-file requirements/test.lock

# strict: a version that the database of vulnerabilities does not know fails, instead of being passed over
audit: .venv/installed-tools
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement requirements/test.lock

PYTHONS ?= python3.11 python3.12 python3.13
QUICK := tests/cost/test_cost_*.py tests/work/test_work.py tests/hardware/test_devices.py tests/software/test_runtimes.py \
	tests/graph/test_graph.py tests/engine/test_simulate.py tests/test_specfile.py tests/test_quantity.py tests/test_stats.py
test-pythons:
	@for python in $(PYTHONS); do \
		version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || { \
			echo "$$python: not found, passed over"; continue; }; \
		bin=.venv/python$$version/bin && "$$python" -m venv .venv/python$$version && \
		$$bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements/test.lock \
			--editable . pytest pytest-benchmark hypothesis && \
		$$bin/roofline simulate resnet-50 --device tpu-v3 >/dev/null && \
		$$bin/python -m pytest -q -p no:cacheprovider $(QUICK) || exit 1; \
		echo "Python $$version: passed"; \
	done

MEASUREMENTS ?=
accuracy: .venv/installed-accuracy
	@test -n "$(MEASUREMENTS)" || { echo "error: make accuracy MEASUREMENTS=path/to/measurements" >&2; exit 1; }
	$(BIN)/python tools/accuracy.py "$(MEASUREMENTS)" --cache .venv/traced
	$(BIN)/python tools/library_accuracy.py "$(MEASUREMENTS)" --cache .venv/traced

format: .venv/installed-test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .venv build dist tour .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/created:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(ENOUGH)' || { \
		echo "error: Python 3.11 or newer is needed and none was found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || { \
		echo "error: $(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@touch $@

.venv/installed: .venv/created pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-tools: .venv/created
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5" "pip-audit>=2.9,<3"
	@touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@

# timm without its dependencies: torchvision and the hub's client are only imported
.venv/installed-accuracy: .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[torch,calibrate]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps timm==1.0.31 torchvision==0.28.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check pillow huggingface_hub safetensors pyyaml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check transformers diffusers accelerate
	@touch $@

# timm and torchvision without their dependencies: only their Python part is needed, and it wants another torch.
# Where PyPI has torch for CUDA only, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves gigabytes.
.venv/installed-test: .venv/installed requirements/test.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/test.lock --editable ".[test]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps timm==1.0.31 torchvision==0.28.0
	@touch $@
