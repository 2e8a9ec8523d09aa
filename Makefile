# install | demo | demo-hands | demo-signs | test | test-all | check | docs | docs-build | dist | bench | torture   work on a
# fresh clone: .venv is created when it is missing or out of date. gpu | gpu-science run from the source tree on a GPU host; nothing is
# installed there.
VENV   ?= .venv
CONSTRAINTS ?= constraints.txt
PYTHON ?= python3
PY     := $(VENV)/bin/python

# Idle OpenMP threads soon sleep, see synthreal/cli/application.py.
# albumentations does not look for a newer version on the network at import.
export GOMP_SPINCOUNT ?= 20000
export NO_ALBUMENTATIONS_UPDATE ?= 1
# Material for MkDocs advertises its successor otherwise.
export NO_MKDOCS_2_WARNING ?= 1

PLUGINS := plugins/gaze plugins/hands plugins/signs

.PHONY: install demo demo-hands demo-signs test test-all check docs docs-build dist bench torture gpu-site gpu \
	gpu-science wheels clean

install: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml $(PLUGINS:%=%/pyproject.toml) $(filter-out /dev/null,$(CONSTRAINTS))
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -c $(CONSTRAINTS) -e ".[report,tensorboard,web,onnx,docs,dev]" $(PLUGINS:%=-e %)
	$(PY) -m pip install -q -c $(CONSTRAINTS) --no-deps torchvision  # for tests; with dependencies it would replace torch
	touch $@

demo: PLUGIN = gaze
demo-hands: PLUGIN = hands
demo-signs: PLUGIN = signs
# ROOT=DIR: the folder that holds GTSRB, if it is not data/GTSRB.
demo-signs: GTSRB = $(if $(ROOT),$(foreach role,real real_labelled validation test,--set "data.$(role).options.root=$(ROOT)"))
demo demo-hands demo-signs: RUN ?= runs/$(PLUGIN)
demo demo-hands demo-signs: install
	$(PY) -m synthreal fit --plugin $(PLUGIN) --run $(RUN) $(if $(wildcard $(RUN)/config.toml),--resume) $(GTSRB)
	$(PY) -m synthreal evaluate $(RUN)
	$(PY) -m synthreal report $(RUN)

test: install
	$(PY) -m pytest -q -m "not slow and not gpu" -n auto --maxprocesses 8 --dist loadfile

test-all: install
	$(PY) -m pip install -q -c $(CONSTRAINTS) -e ".[ray,wandb,mlflow]"  # 1 GB, for slow tests only
	$(PY) -m pytest -q

check: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(MAKE) docs-build

# The pages in docs/, on http://127.0.0.1:8000/ while they are edited; and in site/, where a warning is an error.
docs: install
	$(PY) -m mkdocs serve

docs-build: install
	$(PY) -m mkdocs build --strict

# A source distribution of each project, and a wheel built from it.
dist: install
	rm -rf dist
	for project in . $(PLUGINS); do $(PY) -m build -q --no-isolation --outdir dist $$project || exit 1; done
	$(PY) -m twine check --strict dist/*

bench: RESULT ?= runs/bench/cpu.json
bench: install
	$(PY) benchmarks/suite.py --device cpu --json $(RESULT) $(BENCH)

# 70 minutes on two cores: mutated files, then kills, full and read-only disks. A stopped torture continues where it was.
torture: RESULT ?= runs/torture
torture: install
	PYTHONPATH=benchmarks $(PY) -m torture.fuzz --json $(RESULT)/fuzz.json
	export PYTHONPATH=benchmarks; \
	$(PY) -m torture.kill --jobs fit --json $(RESULT)/kill-fit.json & fit=$$!; \
	$(PY) -m torture.kill --jobs evaluate,refine-pack,refine-shards,refine-folder --json $(RESULT)/kill.json; \
	others=$$?; wait $$fit && exit $$others

# A GPU host uses its own interpreter; missing packages come from WHEELS=DIR, which `make wheels` fills on a machine with a
# network.
GPU_SITE := .gpu
GPU_PY   := env PYTHONPATH=$(CURDIR)/$(GPU_SITE):$(CURDIR):$(subst $() ,:,$(PLUGINS:%=$(CURDIR)/%)) $(PYTHON)

gpu-site:
	$(if $(WHEELS),$(if $(wildcard $(WHEELS)/*.whl),,$(error $(WHEELS) contains no wheels; run make wheels WHEELS=$(WHEELS))))
	rm -rf $(GPU_SITE) && mkdir $(GPU_SITE)
	for wheel in $(wildcard $(WHEELS)/*.whl); do $(PYTHON) -m zipfile -e $$wheel $(GPU_SITE) || exit 1; done

gpu: RESULT ?= runs/gpu/gpu.json
gpu: gpu-site
	$(GPU_PY) benchmarks/suite.py --device auto --quick --tests --budget 450 --json $(RESULT) $(BENCH); \
	code=$$?; cat $(RESULT); exit $$code

# At most four minutes of training (an interrupted fit saves); the rest of the time is for twelve estimators.
gpu-science: RUN ?= runs/gpu/gaze-full
gpu-science: gpu-site
	timeout 240 $(GPU_PY) -m synthreal fit --plugin gaze --recipe gaze-full --run $(RUN) \
	$(if $(wildcard $(RUN)/config.toml),--resume) $(FIT) || [ $$? -eq 124 ]
	$(GPU_PY) -m synthreal evaluate $(RUN) --seeds 3
	cp "$$(ls $(RUN)/sheets/*.png | tail -1)" $(RUN)/sheet.png
	@echo "$(RUN): evaluation.json, sheet.png (simulated, refined, real)"

TARGET := --only-binary=:all: --implementation cp --python-version 3.12 --platform manylinux2014_x86_64 \
	--platform manylinux_2_28_x86_64

wheels:
	$(if $(WHEELS),,$(error name the folder to fill: make wheels WHEELS=DIR))
	$(PYTHON) -m pip download -q $(TARGET) -d $(WHEELS) pydantic tomli-w
	$(PYTHON) -m pip download -q $(TARGET) -d $(WHEELS) --no-deps kornia kornia_rs

clean:
	rm -rf $(VENV) $(GPU_SITE) build dist site *.egg-info plugins/*/*.egg-info
