# What one does with a checkout. Everything beyond Python 3.11, git and make is installed by the targets themselves.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:

PORT ?=
ARGS ?=
# On two cores: while one test waits, two others work. Four take a tenth less time, and load shows more often in tests.
WORKERS ?= 3
PYTHON ?= python3
export PORT PYTHON

BIN := .venv/bin
INSIDE := PATH="$(CURDIR)/$(BIN):$$PATH"

# Rootless podman needs an ordinary user: root hands these over to one.
ROOTLESS := lab test unit bench load soak screenshots

.PHONY: help lint python-lint format docs wheel clean $(ROOTLESS)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

ifeq ($(shell id -u),0)

$(ROOTLESS):
	@.setup/machine $@
	@.setup/as-user $@ 'PORT=$(PORT)' 'ARGS=$(ARGS)' 'WORKERS=$(WORKERS)'
	@if [ $@ = screenshots ]; then .setup/as-user --bring docs/images; fi

else

lab: ## open JupyterLab in a first loop, setting up what is missing (PORT=8888)
	@.setup/machine
	@.setup/venv lab
	@.setup/lab

# That of the face is one of the tests: it takes as long as all of Python's, and then keeps nobody waiting.
test: python-lint ## run every check: lint, types, unit, podman and browser tests (ARGS="-k name")
	@.setup/machine test
	@mkdir -p .artefacts
	@$(INSIDE) pytest --numprocesses=$(WORKERS) --dist=loadscope --no-loadscope-reorder --junitxml=.artefacts/junit.xml $(ARGS)

unit: ## run the tests that need no podman (ARGS="-k name")
	@.setup/venv dev
	@$(INSIDE) pytest -m 'not podman' $(ARGS)

screenshots: ## take the pictures of the documentation anew, in the browser
	@.setup/machine test
	@.setup/venv dev
	@TAKE_PICTURES=yes $(INSIDE) pytest -q tests/labextension -k works_in_it
	@mkdir -p docs/images
	@cd .artefacts/screenshots && cp dialog.png work.png ../../docs/images/

bench: ## measure speed and size, each beside its floor (ARGS="…")
	@.setup/machine
	@.setup/venv dev
	@$(INSIDE) python -m benchmarks $(ARGS)

load: ## run a hundred loops at once, and compare with one (ARGS="--loops 20")
	@.setup/machine
	@.setup/venv dev
	@$(INSIDE) python -m benchmarks.load $(ARGS)

soak: ## live a thousand loops and count what stays behind (ARGS="--cycles 50")
	@.setup/machine
	@.setup/venv dev
	@$(INSIDE) python -m benchmarks.soak $(ARGS)

endif

lint: python-lint ## check style and types
	@cd labextension && $(INSIDE) jlpm lint

python-lint:
	@.setup/venv dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: ## put the code into the project's style
	@.setup/venv dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# Each generated page, and the module that prints it. Tests compare them.
PAGES := cli=loopat_jupyter.cli.reference configuration=loopat_jupyter.cli.settings rest=loopat_jupyter.server.rest_docs

docs: ## write the generated documents again
	@.setup/venv dev
	@mkdir -p .artefacts
	@set -e; for page in $(PAGES); do \
	  $(BIN)/python -m $${page#*=} >.artefacts/page.md; cp .artefacts/page.md docs/$${page%%=*}.md; \
	done

wheel: ## build the package into dist/
	@.setup/venv dev
	@$(BIN)/hatchling build

clean: ## remove what the targets made here; loops and images stay
	rm -rf .venv .artefacts labextension/lib labextension/node_modules labextension/.yarn loopat_jupyter/labextension .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
