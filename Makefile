# `make help` lists what there is. Everything runs in .venv, which `make book` or `make test` creates.

PYTHON3 ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NUMBERS := book/numbers.md
PORT ?= 8000
RUN ?= all

.DEFAULT_GOAL := help
.PHONY: help book serve test lint data execute retrain bench set-repository clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{printf "make %-16s %s\n", $$1, $$2}'

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON3) is $$($(PYTHON3) --version). Try: make PYTHON3=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing into $(VENV) (once; some minutes)"
	@$(PYTHON3) -m venv $(VENV)
	@# pip would compile one file after another, tests too; on all processors this takes half the time or less.
	@$(BIN)/pip install --quiet --no-compile --requirement requirements.txt
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Written from the stored runs at every build in which one of them, or the program, changed.
$(NUMBERS): scripts/numbers_page.py _toc.yml $(wildcard chapters/*.ipynb) $(shell find tlutils/stored_runs -name '*.json' -o -type d 2>/dev/null) | $(INSTALLED)
	@$(BIN)/python scripts/numbers_page.py book

book: $(INSTALLED) $(NUMBERS)  ## build the site from the stored outputs into _build/html
	@$(BIN)/jupyter-book build . -W --keep-going --quiet
	@echo "The book lies in _build/html: 'make serve' shows it, or open _build/html/index.html"

serve: book  ## show the site on http://127.0.0.1:8000 (PORT=n for another port)
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

test: $(INSTALLED) $(NUMBERS)  ## lint, unit tests, chapters, stored runs, Colab path, book, site in a browser
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test_stages.sh

lint: $(INSTALLED)  ## ruff, the house rules for chapters and tests, the workflow files
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lint.sh

data: $(INSTALLED)  ## fetch and check every data set that is not there yet (TLUTILS_DATA names the folder)
	@$(BIN)/python -c 'from tlutils import datasets as d; [print(n, *d.load(n).images.shape) for n in d.available()]'
	@$(BIN)/python -c 'from tlutils import tabular as t; [print(n, d, *t.load(n, d).x.shape) for n in t.available() for d in t.domain_names(n)]'
	@$(BIN)/python -c 'from tlutils import photographs as p; [print(n, p.fingerprint(n)) for n in p.available()]'

execute: $(INSTALLED)  ## re-run the chapters and store their outputs (CHAPTER=name for one)
	@$(BIN)/python scripts/execute.py $(CHAPTER)

retrain: $(INSTALLED)  ## train stored runs again and compare (RUN=chapter or chapter/run, JOBS=2 for two at a time, KEEP=1 stores)
	@$(BIN)/python scripts/retrain.py $(RUN) $(if $(JOBS),--jobs $(JOBS)) $(if $(KEEP),--keep)

bench: book  ## measure speed, side by side with the usual way
	@for program in benchmarks/*.py; do echo "== $$program"; $(BIN)/python $$program || exit 1; done

set-repository: $(INSTALLED)  ## write another address everywhere (SLUG=owner/name)
	@$(BIN)/python scripts/set_repository.py $(SLUG)

clean:  ## remove the built site, not the environment
	rm -rf _build $(NUMBERS) book/numbers
