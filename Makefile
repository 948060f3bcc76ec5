# Each target sets up what it needs, from nothing but git, make, network and Python 3.11 or newer.
# `make` alone shows the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
IMAGE := qualtrics-exporter/qualtrics-exporter
VERSION = $$($(BIN)/python -c 'from importlib.metadata import version; print(version("qualtrics-exporter"))')
COMPILE := $(BIN)/uv pip compile --quiet --no-header --no-emit-index-url --generate-hashes --universal --python-version 3.11
GO = $$($(BIN)/python -c 'from tests.environment.build import go; print(go())')
# As the tests build it: go.mod stays as it is, no other Go is fetched, no C compiler is needed. With -trimpath too, vet
# finds what the build has compiled; without it everything would be compiled once more.
GO_ENVIRONMENT := GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0

# Most tests wait for other processes most of the time, so there are more workers than the two cores that are counted on.
# A module stays with one worker, its tests share a stage. In the order of tests/conftest.py, which has the longest modules
# first: xdist would begin with those that have most tests.
WORKERS := --numprocesses 4 --dist loadscope --no-loadscope-reorder

# Tests start hundreds of Python processes: each would compile what it loads anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-node simulate node image measure measure-idle measure-nql measure-queue measure-slow-api measure-input measure-neighbours lint format generate check-generated check-go figures venv requirements build clean
.NOTPARALLEL:

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Try it: a real control plane, both remote sides as a sandbox, one exporter, its outbox
	$(BIN)/python -m tests.environment.demo $(if $(KEEP),--keep)

test: lint check-generated check-go ## Everything that CI checks
	$(BIN)/python -m tests.environment.build
	$(BIN)/python -m tests.environment.node --prepare
	$(BIN)/pytest -m "not long" $(WORKERS)

test-long: lint check-generated check-go ## The same and the tests that take long
	$(BIN)/python -m tests.environment.build
	$(BIN)/python -m tests.environment.node --prepare
	$(BIN)/pytest -m "long or not long" $(WORKERS)

test-node: $(READY) ## A real node with the chart on it: a run in a pod, and what happens when pods end in mid-run
	$(BIN)/python -m tests.environment.node
	$(BIN)/pytest -m "long or not long" tests/node tests/environment/test_node.py

simulate: $(READY) ## The real controller in simulated worlds: SEEDS of them (200), from FIRST (0) on
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),200) --first $(or $(FIRST),0) --workers 2

node: $(READY) ## Keep such a node, with a kubeconfig, until Ctrl-C
	$(BIN)/python -m tests.environment.node --keep

image: $(READY) ## Build the image into dist/; with ENGINE=docker, podman or buildah by that engine, BASE names its base
ifdef ENGINE
	$(ENGINE) build --file Containerfile --tag $(IMAGE):$(VERSION) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  --build-arg VERSION=$(VERSION) --label org.opencontainers.image.revision=$$(git rev-parse HEAD) .
else
	$(BIN)/python -m tests.environment.image
endif

measure: $(READY) ## Figures: a run with 25,300 people, its portions and the operator's memory
	$(BIN)/python -m benchmarks.large_run

measure-idle: $(READY) ## Figures: the operator with 10,000 exporters at rest
	$(BIN)/python -m benchmarks.idle

measure-nql: $(READY) ## Figures: how fast queries are checked, and how the time grows with their length
	$(BIN)/python -m benchmarks.nql

measure-queue: $(READY) ## Figures: 10,000 weekly exporters due in one slot, one tenant with long runs
	$(BIN)/python -m benchmarks.queue

measure-slow-api: $(READY) ## Figures: how long it takes until a replica leads, if the API server is slow
	$(BIN)/python -m benchmarks.slow_api

measure-input: $(READY) ## Figures: a remote side that floods, the longest turn of the event loop, memory
	$(BIN)/python -m benchmarks.remote_input

measure-neighbours: $(READY) ## Figures: what a tenant that hangs, floods or has many people does to the others
	$(BIN)/python -m benchmarks.neighbours

lint: $(READY) ## Style, types and layers, without changing anything
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Bring the code into its form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	@go=$(GO) && "$$("$$go" env GOROOT)/bin/gofmt" -l -w tests/programs

generate: $(READY) ## Write every generated file: the CRD, schemas, pages of docs/, the README of the chart, config/
	$(BIN)/python -m hack.generate

check-generated: $(READY) ## Fail if a generated file is stale
	$(BIN)/python -m hack.generate --check

figures: $(READY) ## Figures: the size of the code base, and the path of a survey through it
	$(BIN)/python -m hack.figures

check-go: $(READY) ## Vet the Go programs that tests and demo run
	@go=$(GO) && cd tests/programs && echo "go vet and gofmt in tests/programs" \
	  && $(GO_ENVIRONMENT) "$$go" vet -trimpath ./... \
	  && test -z "$$("$$("$$go" env GOROOT)/bin/gofmt" -l . | tee /dev/stderr)"

build: $(READY) ## Make wheel and source distribution in dist/
	$(BIN)/python -m hatchling build

requirements: $(READY) ## Choose the newest versions that pyproject.toml allows, with hashes
	$(COMPILE) --upgrade pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) --upgrade pyproject.toml --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
	$(COMPILE) --upgrade --group pyproject.toml:build --constraints requirements/dev.txt --output-file requirements/build.txt

clean: ## Remove what was built, but for what tests keep in .tools/
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

venv: $(READY) ## Set up .venv with exactly the versions in requirements/

# Only pinned and hashed packages, the build backend included; the package itself is installed in editable mode.
$(READY): pyproject.toml requirements/dev.txt requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " \
	  + sys.version.split()[0] + ": set PYTHON, for example make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
