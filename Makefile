# make demo and make test set up all they need in .venv by themselves.
#   TORCH='torch==2.13.0'        which torch to install where none is importable
#   TORCH_INDEX=URL              an extra package index for torch (a CPU or a CUDA build)
#   PYTHON=python3               the interpreter that makes .venv
PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
VIDEO ?=
SEED ?= 0
BIN := .venv/bin
READY := .venv/.ready-$(shell cat requirements/*.txt setup.py | cksum | cut -d' ' -f1)

.PHONY: demo test test-all lint toy-bench install clean

install: $(READY)

.venv/bin/python:
	$(PYTHON) -m venv $(if $(shell $(PYTHON) -c 'import torch' 2>/dev/null && echo has),--system-site-packages) .venv

$(READY): | .venv/bin/python
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --progress-bar off $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --progress-bar off -q -r requirements/mminstall.txt -r requirements/runtime.txt -r requirements/tests.txt
	$(BIN)/python -m pip install --progress-bar off -q --no-deps -e .
	-$(BIN)/python -m mmdvis.doctor
	@rm -f .venv/.ready-* && touch $@

demo: $(READY)
	$(BIN)/python demo/toy_demo.py --work-dir work_dirs/toy --seed $(SEED) $(if $(VIDEO),--video $(VIDEO))

toy-bench: $(READY)
	$(BIN)/python demo/toy_demo.py --work-dir work_dirs/toy-bench --recipe bench --seed $(SEED)

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-all: $(READY)
	$(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/python -m flake8 .
	$(BIN)/python -m isort --check-only .
	$(BIN)/python -m interrogate -q mmdvis tools demo

clean:
	rm -rf .venv work_dirs build dist *.egg-info
