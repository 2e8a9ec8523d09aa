# install | demo | demo-hands | test | check   All work on a fresh clone: .venv is made when it is missing or out of date.
VENV   ?= .venv
PYTHON ?= python3
PY     := $(VENV)/bin/python

# Idle OpenMP threads must sleep, or small images cost milliseconds each on a busy machine;
# albumentations asks the network for its version at import unless told not to.
export OMP_WAIT_POLICY ?= PASSIVE
export NO_ALBUMENTATIONS_UPDATE ?= 1

PLUGINS := plugins/gaze plugins/hands

.PHONY: install demo demo-hands test test-all check clean

install: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml $(PLUGINS:%=%/pyproject.toml) constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -c constraints.txt -e ".[albumentations,dev]" $(PLUGINS:%=-e %)
	touch $@

demo: PLUGIN = gaze
demo-hands: PLUGIN = hands
demo demo-hands: RUN ?= runs/$(PLUGIN)
demo demo-hands: install
	$(PY) -m synthreal fit --plugin $(PLUGIN) --run $(RUN) $(if $(wildcard $(RUN)/config.toml),--resume)
	$(PY) -m synthreal evaluate $(RUN)
	@echo "pictures (simulated | refined | real): $(RUN)/sheets"

test: install
	$(PY) -m pytest -q -m "not slow and not gpu"

test-all: install
	$(PY) -m pytest -q

check: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

clean:
	rm -rf $(VENV) build dist *.egg-info plugins/*/*.egg-info
