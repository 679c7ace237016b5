# Wardrobe's commands. `make help` lists them.

UV ?= tools/uv
export UV_PYTHON ?= /usr/bin/python3.11

ROOT := .venv/bin
TRAINER := .venv-trainer/bin
ENGINE := .venv-engine/bin
PYTEST := $(ROOT)/pytest --ignore=tests/trainer --ignore=tests/engine

.DEFAULT_GOAL := help
.PHONY: $(shell awk -F: '/^[a-z-]+:/ {print $$1}' $(MAKEFILE_LIST))

##@ See it work

demo: ## The hospital's story on a real cluster, from a bare machine (root; CONTEXT=… for your own)
	@demo/run $(if $(CONTEXT),--context $(CONTEXT)) $(if $(VALUES),--values $(VALUES))

demo-down: ## Stop the demo's cluster and take it away (root)
	@$(ROOT)/devcluster down

kubeconfig: ## What a shell needs for the demo's cluster: eval "$(make kubeconfig)"
	@$(ROOT)/python -m demo --exports

##@ Daily

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	    /^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

fmt: setup ## Format the code and mend what a tool can mend
	$(ROOT)/ruff check --fix .
	$(ROOT)/ruff format .

check: lint types unit ## Everything that needs no node: lint, types, layers, schemas, unit, control plane (< 4 min)

test: node-free check test-trainer test-engine test-chart test-node ## All tests: check, on torch, of the chart, on a real node (< 25 min warm)

##@ Parts of them

lint: setup ## Style, formatting, and who may import whom
	$(ROOT)/ruff check .
	$(ROOT)/ruff format --check .
	PYTHONPATH=trainer_image/src:engine_image/src $(ROOT)/lint-imports --no-logo

types: setup setup-trainer setup-engine ## mypy --strict over every member
	MYPYPATH=trainer_image/src:engine_image/src $(ROOT)/mypy \
	    contracts/src operator/src gateway/src devcluster/src docs/wardrobe_docs images
	MYPYPATH=devcluster/src $(ROOT)/mypy demo
	MYPYPATH=contracts/src $(ROOT)/mypy --python-executable $(TRAINER)/python trainer_image/src
	MYPYPATH=contracts/src $(ROOT)/mypy --python-executable $(ENGINE)/python engine_image/src

unit: setup ## Unit, schema and control-plane tests
	$(PYTEST) -n 2 --dist loadfile -m "not node and not engine and not chart"

test-trainer: setup-trainer ## The trainer's tests, in its own environment
	$(TRAINER)/pytest tests/trainer

test-engine: setup setup-trainer setup-engine ## The engine's tests in its own environment, and the gateway's before it
	$(ENGINE)/pytest tests/engine
	$(PYTEST) -m engine tests/gateway

test-chart: setup ## The Helm chart's tests, on an apiserver
	$(PYTEST) -m chart tests/chart

test-node: node-free setup-engine ## Tests on the development cluster's node (root)
	@status=0; for part in devcluster cluster; do \
	    $(PYTEST) -m "node and not drill" tests/$$part || status=$$?; done; exit $$status

drills: node-free ## Everything that kills, starves or corrupts, on the node (root; about 20 min)
	@status=0; for part in devcluster cluster; do \
	    $(PYTEST) -m drill tests/$$part || status=$$?; done; exit $$status

node-free: setup
	@if $(ROOT)/devcluster status >/dev/null 2>&1; then \
	    echo "a node is up; the tests start and stop one of their own: make demo-down first" >&2; exit 1; fi

##@ Images

images-check: setup ## Build the images of operator and gateway, look into them, start them (root)
	PYTHONPATH=images $(ROOT)/python -m image_check operator gateway

images-check-all: setup ## The same for all images; trainer and engine take about 30 GB of disk (root)
	PYTHONPATH=images $(ROOT)/python -m image_check

images-clean: ## Remove the images and what their builds keep (root)
	rm -rf $${WARDROBE_CACHE:-/var/cache/wardrobe}/images

##@ Figures

bench-operator: setup ## API requests and memory of the operator
	$(ROOT)/python benchmarks/operator_cost.py

bench-training: setup ## What the hospital's adapters are worth, trained on the node (root; about 8 min)
	$(ROOT)/python benchmarks/training_quality.py

bench-node: setup ## Seconds until the node is Ready, and gone (root)
	$(ROOT)/python devcluster/bench_up_down.py

bench-gateway: setup ## What router and agent add to a request
	$(ROOT)/python benchmarks/gateway_latency.py

bench-rollback: setup ## Seconds until another version answers, under traffic (root; about 6 min)
	$(ROOT)/python benchmarks/rollback.py

bench-engine: setup-engine ## Many adapters in one batch beside the base alone
	$(ENGINE)/python benchmarks/engine_batch.py

##@ Upkeep

setup: ## Make or update .venv, where the tools and the operator are
	$(UV) sync --locked --quiet

setup-trainer: ## Make or update .venv-trainer, with torch (a few GB the first time)
	UV_PROJECT_ENVIRONMENT=.venv-trainer $(UV) sync --locked --quiet --package wardrobe-trainer --group test

setup-engine: ## Make or update .venv-engine
	UV_PROJECT_ENVIRONMENT=.venv-engine $(UV) sync --locked --quiet --package wardrobe-engine --group test

schemas: setup ## Write contracts/schemas from the models
	$(ROOT)/python -m wardrobe_contracts.schemas

docs: setup ## Write docs/conditions.md and docs/metrics.md from the code
	PYTHONPATH=docs:trainer_image/src:engine_image/src $(ROOT)/python -m wardrobe_docs

clean: ## Remove environments and caches of this checkout
	rm -rf .venv .venv-trainer .venv-engine .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
