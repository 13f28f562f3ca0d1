# A fresh machine needs Python 3.11 or newer and nothing else; every target makes what it needs.
PYTHON ?= python3
VENV ?= .venv
GPU_PYTHON ?= 3.12
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-nightly mutations lint format gpu gpu-wheels clean

demo: $(VENV)/.demo  ## compare every solver on a real electrocardiogram
	$(BIN)/pursuit compare ecg -o runs/ecg

test: $(VENV)/.test  ## run the tests
	$(BIN)/python tests/compile_kernels.py
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

test-nightly: $(VENV)/.test  ## the tests that take long
	$(BIN)/python tests/compile_kernels.py
	$(BIN)/python -m pytest -m nightly

mutations: $(VENV)/.test  ## whether the tests notice slips in the mathematics; half an hour
	$(BIN)/python tests/compile_kernels.py
	$(BIN)/python tests/mutations.py

lint: $(VENV)/.lint  ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

gpu:  ## the tests that touch devices, and times, on a machine with a GPU; PYTHON needs torch alone, and no network
	if $(PYTHON) -c 'import torch'; then $(PYTHON) benchmarks/gpu.py; \
	else $(MAKE) $(VENV)/.test && $(BIN)/python benchmarks/gpu.py; fi

# For a machine without a network: what it may lack besides torch, NumPy, Numba and scikit-learn, which are too large.
gpu-wheels:  ## fill wheels/ for GPU_PYTHON on 64-bit Linux
	$(PYTHON) -m pip download --no-deps --only-binary=:all: --implementation cp --python-version $(GPU_PYTHON) \
	  $(addprefix --platform ,manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64) --dest wheels \
	  safetensors lazy_loader pytest pluggy iniconfig packaging pygments hypothesis sortedcontainers attrs pywavelets \
	  pytest-xdist execnet
	$(PYTHON) -m pip download --no-deps --no-binary=orthogonal-matching-pursuit-gpu --dest wheels \
	  orthogonal-matching-pursuit-gpu==0.1.3

clean:
	rm -rf $(VENV) runs

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pursuit needs Python 3.11 or newer; pass PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[all]'
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[test]'
	touch $@

$(VENV)/.lint: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[lint]'
	touch $@
