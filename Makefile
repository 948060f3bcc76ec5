# Each target installs what it needs, except git, make and Python 3.11 or newer. `make` shows all targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHONS := 3.11 3.12 3.13 3.14
IMAGE := qualtrics-exporter/qualtrics-exporter
VERSION = $$($(BIN)/python -c 'from importlib.metadata import version; print(version("qualtrics-exporter"))')
COMPILE := $(BIN)/uv pip compile --quiet --no-header --no-emit-index-url --generate-hashes --universal --python-version 3.11
GO = $$($(BIN)/python -c 'from hack.programs import go; print(go())')
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs
# The tests build with these settings: do not change go.mod, do not download another Go, do not use a C compiler. vet
# also uses -trimpath, as the tests do. Otherwise it would compile all packages again.
GO_ENVIRONMENT := GOFLAGS=-mod=readonly GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0

# Tests mostly wait for other processes, so four workers keep two cores busy. The tests of a module run in one worker,
# because they share a stage. tests/conftest.py starts the slowest modules first. Without --no-loadscope-reorder, xdist
# would start the modules with the most tests first.
WORKERS := --numprocesses 4 --dist loadscope --no-loadscope-reorder

# Tests start hundreds of Python processes. Without compiled files, each of them would compile its modules again.
unexport PYTHONDONTWRITEBYTECODE

# `make test` gives the same answer for the same code: all its random values come from this seed. `make test-long` looks
# for new failures with a new seed.
SEED := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-node test-release test-pythons test-fast simulate node image site site-serve pictures bench bench-docs measure-nql measure-queue measure-slow-api measure-input measure-neighbours lint format generate check-generated check-go figures venv requirements build plugin release release-key login-registry check-release verify-release clean
.NOTPARALLEL:

help: ## Show all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Run a complete example: an API server, the sandbox, the operator, one exporter and its outbox
	$(BIN)/python -m tests.support.demo $(if $(KEEP),--keep)

test: lint check-generated check-go ## Run everything that CI checks
	$(BIN)/python -m hack.programs
	$(BIN)/python -m hack.linters
	$(BIN)/python -m hack.node
	QUALTRICS_EXPORTER_TEST_SEED=$(SEED) $(BIN)/pytest -m "not long" --hypothesis-seed=$(SEED) $(WORKERS)

test-long: lint check-generated check-go ## Run everything that CI checks, and the long tests
	$(BIN)/python -m hack.programs
	$(BIN)/python -m hack.linters
	$(BIN)/python -m hack.node
	$(BIN)/pytest -m "long or not long" $(WORKERS)

test-node: $(READY) ## Run the tests that install the chart on a real node
	$(BIN)/python -m tests.support.node_demo
	$(BIN)/pytest -m "long or not long" tests/node tests/hack/test_node.py

test-release: $(READY) ## Make a release into a local registry, verify it, and install it on a real node
	$(BIN)/pytest -m "long or not long" tests/release

# Each Python has a virtual environment of its own. A Python of pyenv is found without being active.
test-pythons: ## Run the tests that need neither an API server nor a node, with each installed Python from 3.11 to 3.14
	@found=; for version in $(PYTHONS); do \
	  for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python missing; do \
	    "$$python" -c "" 2> /dev/null && break; \
	  done; \
	  if test "$$python" = missing; then echo "Python $$version is not installed"; continue; fi; \
	  echo "Python $$version: $$python"; \
	  $(MAKE) --no-print-directory test-fast VENV=.venv-$$version PYTHON="$$python" || exit; \
	  found="$$found $$version"; \
	done; test -n "$$found" && echo "The tests passed with Python$$found"

test-fast: $(READY) ## Run the tests that need neither an API server nor a node
	QUALTRICS_EXPORTER_TEST_SEED=$(SEED) $(BIN)/pytest -m "not long and not cluster" --hypothesis-seed=$(SEED) $(WORKERS) \
	  --ignore=tests/node --ignore=tests/image --ignore=tests/hack/test_node.py

simulate: $(READY) ## Run the controller in simulated worlds: SEEDS is their number (200), FIRST the first seed (0)
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),200) --first $(or $(FIRST),0) --workers 2

node: $(READY) ## Start a real node with the chart and the sandbox, and keep it until Ctrl-C
	$(BIN)/python -m tests.support.node_demo --keep

image: $(READY) ## Build the image into dist/, or with ENGINE (docker, podman, buildah); BASE is its base
ifdef ENGINE
	$(ENGINE) build --file Containerfile --tag $(IMAGE):$(VERSION) $(if $(BASE),--build-arg BASE=$(BASE)) \
	  --build-arg VERSION=$(VERSION) --label org.opencontainers.image.revision=$$(git rev-parse HEAD) .
else
	$(BIN)/python -m hack.image
endif

site: $(READY) ## Build the documentation site into dist/site
	$(MKDOCS) build --strict

site-serve: $(READY) ## Serve the documentation site on this machine, and build it again when a page changes
	$(MKDOCS) serve --strict --dev-addr 127.0.0.1:8000

pictures: $(READY) ## Write the pictures of the documentation, from the pages of the console in a real browser
	$(BIN)/python -m tests.console.pictures

bench: $(READY) ## Run all benchmarks, about 15 minutes on two free cores; ONLY chooses some, such as ONLY=small-run
	$(BIN)/python -m hack.programs
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

bench-docs: $(READY) ## Write what `make bench` measured into docs/performance.md, with its plots
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BIN)/python -m benchmarks.page

measure-nql: $(READY) ## Measure how long the check of a query takes, by its length
	$(BIN)/python -m benchmarks.nql

measure-queue: $(READY) ## Measure how long 10,000 exporters wait that are due in one slot, with one slow tenant
	$(BIN)/python -m benchmarks.queue

measure-slow-api: $(READY) ## Measure how long it takes until a replica leads if the API server is slow
	$(BIN)/python -m benchmarks.slow_api

measure-input: $(READY) ## Measure how long a remote service that floods blocks the event loop, and its memory
	$(BIN)/python -m benchmarks.remote_input

measure-neighbours: $(READY) ## Measure how much a tenant that hangs, is slow, floods or is large delays the others
	$(BIN)/python -m benchmarks.neighbours

lint: $(READY) ## Check style, types and import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	@go=$(GO) && "$$("$$go" env GOROOT)/bin/gofmt" -l -w tests/programs

generate: $(READY) ## Write all generated files: CRD, schemas, reference pages, README of the chart, config/
	$(BIN)/python -m hack.generate

check-generated: $(READY) ## Fail if a generated file is stale
	$(BIN)/python -m hack.generate --check

figures: $(READY) ## Print the size of the code base and the length of the path of a survey
	$(BIN)/python -m hack.figures

check-go: $(READY) ## Check the Go programs that the tests and the demo run
	@go=$(GO) && cd tests/programs && echo "go vet and gofmt in tests/programs" \
	  && $(GO_ENVIRONMENT) "$$go" vet -trimpath ./... \
	  && test -z "$$("$$("$$go" env GOROOT)/bin/gofmt" -l . | tee /dev/stderr)"

build: $(READY) ## Build the wheel and the source distribution into dist/, and check their metadata
	$(BIN)/python -m hack.release packages

plugin: $(READY) ## Build the plugin for krew into dist/plugin: DOWNLOADS is the URL where its files will be
	$(BIN)/python -m hack.release plugin --downloads $(or $(DOWNLOADS),$(error Set DOWNLOADS, such as https://downloads.example.com))

check-release: $(READY) ## Check that this commit is a release: one version everywhere, a changelog, a tag
	$(BIN)/python -m hack.release check

release-key: $(READY) ## Create the key that signs releases: cosign.key with a password, and cosign.pub
	@$(BIN)/python -m hack.release key

login-registry: $(READY) ## Store REGISTRY_PASSWORD of REGISTRY_USER, from the environment, for `make release`
	@$(BIN)/python -m hack.release login --registry $(or $(REGISTRY),$(error Set REGISTRY, such as registry.example.com)) \
	  --user $(or $(REGISTRY_USER),$(error Set REGISTRY_USER))

release: $(READY) ## Publish this commit in REGISTRY: KEY signs, IMAGES are archives of `make image`, DOWNLOADS is for krew, REHEARSAL=1 tries it
	$(BIN)/python -m hack.release publish --registry $(or $(REGISTRY),$(error Set REGISTRY, such as registry.example.com)) \
	  $(if $(KEY),--key $(KEY)) $(if $(REHEARSAL),--rehearsal) $(if $(PLAIN_HTTP),--plain-http) $(if $(DOWNLOADS),--downloads $(DOWNLOADS)) $(IMAGES)

verify-release: $(READY) ## Verify what is published in REGISTRY with PUBLIC_KEY, a file; VERSION chooses another version
	$(BIN)/python -m hack.release verify --registry $(or $(REGISTRY),$(error Set REGISTRY, such as registry.example.com)) \
	  --public-key $(or $(PUBLIC_KEY),dist/release/cosign.pub) $(if $(filter-out file,$(origin VERSION)),--version $(VERSION))

requirements: $(READY) ## Update requirements/ to the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) --upgrade pyproject.toml --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
	$(COMPILE) --upgrade --group pyproject.toml:build --constraints requirements/dev.txt --output-file requirements/build.txt
	$(COMPILE) --upgrade --group pyproject.toml:bench --constraints requirements/dev.txt --fork-strategy fewest --output-file requirements/bench.txt
	$(COMPILE) --upgrade --group pyproject.toml:docs --constraints requirements/dev.txt --fork-strategy fewest --output-file requirements/docs.txt

clean: ## Remove build results and caches, except .tools/
	rm -rf $(VENV) $(PYTHONS:%=.venv-%) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

venv: $(READY) ## Create .venv with the versions in requirements/

# All packages, including the build backend, are pinned with hashes. The package itself is an editable install.
$(READY): pyproject.toml requirements/dev.txt requirements/build.txt requirements/docs.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required, this is " \
	  + sys.version.split()[0] + ": set PYTHON, for example make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt \
	  -r requirements/build.txt -r requirements/docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
