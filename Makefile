# `make train` and `make test` set up what they need; nothing else has to be run before.
PYTHON ?= python3
VENV ?= .venv
CONFIG ?= configs/ranet/att56_digits.py
ARGS ?=

RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
PYTEST := $(RUN) -m pytest --numprocesses auto --dist loadfile --timeout 300

OPS := $(VENV)/.ops

.PHONY: train test slow gpu ops original lint format golden tables site wheel clean help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

train: $(INSTALLED) ## train CONFIG (handwritten digits by default) and print its test accuracy
	$(RUN) tools/train.py $(CONFIG) $(ARGS)

test: $(INSTALLED) ## run the tests that take seconds
	$(PYTEST) -m 'not slow' $(ARGS)

slow: $(INSTALLED) ## run the other tests: whole runs, several processes, compilers, kills
	$(PYTEST) -m slow $(ARGS)

gpu: $(INSTALLED) ## run the tests that need a GPU
	$(RUN) -m pytest tests/test_gpu.py $(ARGS)

ops: $(OPS) ## build mmcv's compiled operators once, so that the tests of detection run too

original: $(INSTALLED) ## run the tests of classification on OpenMMLab's original distributions
	VENV=$(VENV) .ci/original_stack $(ARGS)

lint: $(INSTALLED) ## check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(INSTALLED) ## mend style and format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

golden: $(INSTALLED) ## write the counts that the tests assert; for a change that is meant to change them
	$(RUN) -m ranet complexity --family --json > .counts.json && mv .counts.json tests/golden/models.json

tables: $(INSTALLED) ## write the model index from the configs, and the documents' tables from results/ and tests/golden/
	$(RUN) -m ranet metafile
	$(RUN) -m ranet tables

site: $(INSTALLED) ## build the documentation's site in site/; every link is checked
	$(RUN) -m mkdocs build

wheel: $(INSTALLED) ## build dist/*.whl
	rm -rf build
	$(RUN) -m pip wheel --no-deps --wheel-dir dist .

clean: ## remove what was built; results of runs stay in work_dirs/
	rm -rf build dist site *.egg-info ranet_mm/.mim .pytest_cache .ruff_cache $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): Makefile setup.py pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or later is needed; this is " + sys.version) if sys.version_info < (3, 10) else 0'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --constraint constraints.txt --editable '.[timm,mm,seg,det,dev]'
	touch $@

$(OPS): $(INSTALLED) tools/install_ops.sh
	tools/install_ops.sh $(RUN)
	touch $@
