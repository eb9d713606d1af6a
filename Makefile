# Every target creates .venv and installs what it needs.
#   TORCH='torch==2.13.0'        torch to install if none is importable
#   TORCH_INDEX=URL              the package index for torch in place of PyPI (a CPU or a CUDA build)
#   PYTHON=python3               interpreter that creates .venv
PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
VIDEO ?=
DEMO := work_dirs/demo
SAVED := video html json masks csv
SEED ?= 0
N ?= 1000
BIN := .venv/bin
READY := .venv/.ready-$(shell cat requirements/*.txt setup.py setup.cfg | cksum | cut -d' ' -f1)

.PHONY: demo toy smoke test test-all fuzz lint format docs toy-bench install clean

install: $(READY)

.venv/bin/python:
	$(PYTHON) -m venv $(if $(shell $(PYTHON) -c 'import torch' 2>/dev/null && echo has),--system-site-packages) .venv

$(READY): | .venv/bin/python
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --progress-bar off $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --progress-bar off -q -r requirements/mminstall.txt -r requirements/runtime.txt -r requirements/tests.txt
	$(BIN)/python -m pip install --progress-bar off -q --no-deps -e .
	-$(BIN)/python -m mmdvis.doctor
	@rm -f .venv/.ready-* && touch $@
	@echo "the command mmdvis is in .venv/bin; . .venv/bin/activate puts it on the path of this shell"

# without VIDEO: a synthetic video; with VIDEO: the COCO model if it can be downloaded, or else the one in the package
demo: $(READY)
	$(BIN)/python tools/dataset_converters/make_toy_videos.py $(DEMO)/data --num-train 1 --num-val 24 --seed 0
	$(if $(VIDEO),$(BIN)/python -m mmdvis run $(VIDEO) --model minvis_swin-t_coco-panoptic --out $(DEMO)/results --save $(SAVED) || \
	$(BIN)/python -m mmdvis run $(VIDEO) --model dvis-offline_toy --out $(DEMO)/results --save $(SAVED),\
	$(BIN)/python -m mmdvis run $(DEMO)/data/images/val_0000 --model dvis-offline_toy --offline --fps 6 \
	    --out $(DEMO)/results --save $(SAVED) --truth $(DEMO)/data/panoptic_gt_VIPSeg_val.json)
	TOY_DATA=$(DEMO)/data $(BIN)/python tools/test.py configs/toy/dvis-offline_r18_1xb3-t20_toy.py \
	    mmdvis/checkpoints/embedded/dvis_toy-*.pth --work-dir $(DEMO)/test --metrics $(DEMO)/metrics.json
	@echo "open $(DEMO)/results/*/viewer.html in a browser, or $(DEMO)/results/*/video.mp4"

toy: $(READY)
	$(BIN)/python demo/toy_demo.py --work-dir work_dirs/toy --seed $(SEED) $(if $(VIDEO),--video $(VIDEO))

toy-bench: $(READY)
	$(BIN)/python demo/toy_demo.py --work-dir work_dirs/toy-bench --recipe bench --seed $(SEED)

smoke: $(READY)
	$(BIN)/python -m pytest -n 2 -m smoke

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-all: $(READY)
	$(BIN)/python -m pytest -n 2

fuzz: $(READY)
	FUZZ_CASES=$(N) $(BIN)/python -m pytest -n 2 -s tests/fuzz

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

# strict: a broken link, reference or anchor is an error
docs: $(READY)
	$(BIN)/python -m pip install --progress-bar off -q -r requirements/docs.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open build/site/index.html"

format: $(READY)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	rm -rf .venv work_dirs build dist *.egg-info .ruff_cache .mypy_cache
