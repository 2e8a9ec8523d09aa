# install | demo | demo-hands | test | check | bench   All work on a fresh clone: .venv is made when it is missing or
# out of date. gpu | gpu-science run from the source tree on a GPU host, which need not install anything.
VENV   ?= .venv
PYTHON ?= python3
PY     := $(VENV)/bin/python

# Idle OpenMP threads must sleep, or small images cost milliseconds each on a busy machine;
# albumentations asks the network for its version at import unless told not to.
export OMP_WAIT_POLICY ?= PASSIVE
export NO_ALBUMENTATIONS_UPDATE ?= 1

PLUGINS := plugins/gaze plugins/hands

.PHONY: install demo demo-hands test test-all check bench gpu-site gpu gpu-science wheels clean

install: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml $(PLUGINS:%=%/pyproject.toml) constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -c constraints.txt -e ".[report,tensorboard,web,onnx,dev]" $(PLUGINS:%=-e %)
	$(PY) -m pip install -q -c constraints.txt --no-deps torchvision  # for the tests; alone, or it brings a torch of its own
	touch $@

demo: PLUGIN = gaze
demo-hands: PLUGIN = hands
demo demo-hands: RUN ?= runs/$(PLUGIN)
demo demo-hands: install
	$(PY) -m synthreal fit --plugin $(PLUGIN) --run $(RUN) $(if $(wildcard $(RUN)/config.toml),--resume)
	$(PY) -m synthreal evaluate $(RUN)
	$(PY) -m synthreal report $(RUN)

test: install
	$(PY) -m pytest -q -m "not slow and not gpu" -n auto --maxprocesses 8 --dist loadfile

test-all: install
	$(PY) -m pip install -q -c constraints.txt -e ".[ray]"  # 500 MB that only slow tests want
	$(PY) -m pytest -q

check: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: RESULT ?= runs/bench/cpu.json
bench: install
	$(PY) benchmarks/suite.py --device cpu --json $(RESULT) $(BENCH)

# A GPU host: its own interpreter, what it lacks from wheels (WHEELS=DIR, made by `make wheels` where there is a network).
GPU_SITE := .gpu
GPU_PY   := env PYTHONPATH=$(CURDIR)/$(GPU_SITE):$(CURDIR):$(CURDIR)/plugins/gaze:$(CURDIR)/plugins/hands $(PYTHON)

gpu-site:
	$(if $(WHEELS),$(if $(wildcard $(WHEELS)/*.whl),,$(error $(WHEELS) holds no wheels; make wheels WHEELS=$(WHEELS))))
	rm -rf $(GPU_SITE) && mkdir $(GPU_SITE)
	for wheel in $(wildcard $(WHEELS)/*.whl); do $(PYTHON) -m zipfile -e $$wheel $(GPU_SITE) || exit 1; done

gpu: RESULT ?= runs/gpu/gpu.json
gpu: gpu-site
	$(GPU_PY) benchmarks/suite.py --device auto --quick --tests --budget 450 --json $(RESULT) $(BENCH); \
	code=$$?; cat $(RESULT); exit $$code

# Four minutes of training at most (stopped, a fit saves), the rest for twelve estimators.
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
	$(if $(WHEELS),,$(error name a folder for them, make wheels WHEELS=DIR))
	$(PYTHON) -m pip download -q $(TARGET) -d $(WHEELS) pydantic tomli-w
	$(PYTHON) -m pip download -q $(TARGET) -d $(WHEELS) --no-deps kornia kornia_rs albumentations albucore simsimd \
	stringzilla

clean:
	rm -rf $(VENV) $(GPU_SITE) build dist *.egg-info plugins/*/*.egg-info
