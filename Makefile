# Wardrobe's commands. `make help` lists them.

UV ?= uv
export UV_PYTHON ?= /usr/bin/python3.11

ROOT := .venv/bin
TRAINER := .venv-trainer/bin
PYTEST := $(ROOT)/pytest --ignore=tests/trainer

.DEFAULT_GOAL := help
.PHONY: help setup setup-trainer fmt lint types schemas check unit test test-trainer test-node clean

##@ Daily

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	    /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

fmt: setup ## Format the code and mend what a tool can mend
	$(ROOT)/ruff check --fix .
	$(ROOT)/ruff format .

check: lint types unit ## Everything that needs no node: lint, types, layers, schemas, unit, control plane (< 4 min)

test: check test-trainer test-node ## All tests: check, the trainer's on torch, those on a real node (< 15 min warm)

##@ Parts of them

lint: setup ## Style, formatting, and who may import whom
	$(ROOT)/ruff check .
	$(ROOT)/ruff format --check .
	PYTHONPATH=trainer_image/src $(ROOT)/lint-imports --no-logo

types: setup setup-trainer ## mypy --strict over every member
	$(ROOT)/mypy contracts/src operator/src devcluster/src
	MYPYPATH=contracts/src $(ROOT)/mypy --python-executable $(TRAINER)/python trainer_image/src

unit: setup ## Unit, schema and control-plane tests
	$(PYTEST) -m "not node"

test-trainer: setup-trainer ## The trainer's tests, in its own environment
	$(TRAINER)/pytest tests/trainer

test-node: setup ## Tests on the development cluster's node (root)
	$(PYTEST) -m node

##@ Upkeep

setup: ## Make or update .venv, where the tools and the operator are
	$(UV) sync --locked --quiet

setup-trainer: ## Make or update .venv-trainer, with torch (a few GB the first time)
	UV_PROJECT_ENVIRONMENT=.venv-trainer $(UV) sync --locked --quiet --package wardrobe-trainer --group test

schemas: setup ## Write contracts/schemas from the models
	$(ROOT)/python -m wardrobe_contracts.schemas

clean: ## Remove environments and caches of this checkout
	rm -rf .venv .venv-trainer .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
