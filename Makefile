# Wardrobe's commands. `make help` lists them.

UV ?= tools/uv
export UV_PYTHON ?= /usr/bin/python3.11
# Some machines forbid bytecode: each of the hundreds of processes of the tests would compile torch or kubernetes anew.
unexport PYTHONDONTWRITEBYTECODE

ROOT := .venv/bin
TRAINER := .venv-trainer/bin
ENGINE := .venv-engine/bin
PYTEST := $(ROOT)/pytest --ignore=tests/models --ignore=tests/trainer --ignore=tests/engine

# Checks of tests and benchmarks by the environment that runs them; the root's are all others.
TRAINER-RUNS := tests/support/assessed.py tests/support/record_artifacts.py tests/support/s3_bucket.py tests/support/task_pods.py benchmarks/assess_cost.py benchmarks/data_check.py benchmarks/other_department.py benchmarks/train_gpu.py benchmarks/train_speed.py
ENGINE-RUNS := $(addprefix tests/support/,ask_with_clients.py faulty_engine.py say.py) benchmarks/engine_batch.py
ELSEWHERE := $(TRAINER-RUNS) $(ENGINE-RUNS) $(wildcard $(addsuffix /*.py,$(addprefix tests/,engine models tgi_stand_in trainer)))
ROOT-RUNS = $(filter-out $(ELSEWHERE),$(wildcard tests/*.py tests/*/*.py benchmarks/*.py benchmarks/*/*.py))

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

check: lint types unit ## Everything that needs no node: lint, types, layers, schemas, unit, control plane (about 10 min)

test: apart ## All tests: check, on torch, of the chart, on a real node (about 40 min)
	@$(MAKE) --no-print-directory --jobs=2 test-node beside-the-node

gauntlet: ## What takes hours: ten times the fuzz and the attacks, 2,000 runs, the story from a bare clone (root)
	@tools/gauntlet

##@ Parts of them

lint: setup ## Style, formatting, and who may import whom
	$(ROOT)/ruff check .
	$(ROOT)/ruff format --check .
	PYTHONPATH=models/src:trainer_image/src:engine_image/src $(ROOT)/lint-imports --no-logo

types: setup setup-trainer setup-engine ## mypy --strict over every member, tests and benchmarks
	MYPYPATH=models/src:trainer_image/src:engine_image/src $(ROOT)/mypy \
	    contracts/src operator/src gateway/src devcluster/src docs/wardrobe_docs images tools
	MYPYPATH=devcluster/src $(ROOT)/mypy demo
	@$(call types-in,$(ROOT),$(ROOT-RUNS))
	@$(call types-in,$(TRAINER),models/src trainer_image/src tests/models tests/trainer $(TRAINER-RUNS))
	@$(call types-in,$(ENGINE),engine_image/src tests/engine tests/tgi_stand_in $(ENGINE-RUNS))

types-in = MYPYPATH=$(subst $() ,:,$(wildcard */src) docs images tests .) \
    $(ROOT)/mypy --explicit-package-bases --python-executable $(1)/python $(2)

unit: setup ## Unit, schema and control-plane tests
	$(PYTEST) -n 3 --dist loadfile -m "not node and not engine and not tgi and not vllm and not sources and not tracking and not chart"

test-trainer: setup-trainer ## The trainer's tests and those of what it shares with the engine, in its own environment
	$(TRAINER)/pytest $(if $(WARDROBE_GAUNTLET),,-m "not gauntlet") tests/models tests/trainer

test-engine: setup-engine ## The engine's tests, in its own environment
	$(ENGINE)/pytest tests/engine

test-gateway: setup setup-trainer setup-engine ## The gateway's tests before a real engine
	$(PYTEST) -m engine tests/gateway

test-tgi: setup setup-trainer setup-engine ## The suite of TGI, on the stand-in (WARDROBE_TGI=folder: on the real one)
	$(PYTEST) -m tgi tests/tgi

test-vllm: setup setup-trainer setup-vllm ## The gateway's tests before the real vLLM, on a CPU (about 2 min)
	$(PYTEST) -m vllm tests/gateway

test-sources: setup setup-trainer ## Datasets fetched from a real S3 server and from a hub's imitation (builds the former the first time)
	$(PYTEST) -m sources tests/sources

test-tracking: setup setup-trainer setup-mlflow ## Runs told to MLflow's real server (about 2 min)
	$(PYTEST) -m tracking tests/tracking

test-chart: setup ## The Helm chart's tests, on an apiserver
	$(PYTEST) -m chart tests/chart

# Tests of up and down first; one node serves all others.
on-node = status=0; for part in devcluster cluster; do \
    $(PYTEST) -m "$(1)" tests/$$part || status=$$?; done; exit $$status

test-node: node-free setup-engine setup-trainer ## Tests on the development cluster's node (root)
	@$(call on-node,node and not drill)

drills: node-free setup-engine setup-trainer ## What kills, starves or corrupts, on the node (root; about 30 min)
	@$(call on-node,drill and not gauntlet)

all-drills: node-free setup-engine setup-trainer ## Those of the gauntlet, too (root)
	@$(call on-node,drill)

test-and-drills: apart ## Both on one node, as .ci/run does it (root)
	@$(MAKE) --no-print-directory --jobs=2 node-and-drills beside-the-node

node-and-drills:
	@$(call on-node,node and not gauntlet)

# Each of these uses one core.
apart: node-free lint unit setup-trainer setup-engine setup-vllm setup-mlflow
	@OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --jobs=2 --output-sync=target test-engine types test-gateway test-tgi test-vllm test-sources test-tracking test-chart

# Tests on the node wait for a third of their time: meanwhile those of training take what they leave.
beside-the-node: setup setup-trainer
	@OMP_NUM_THREADS=1 $(ROOT)/python tools/idly.py $(MAKE) --no-print-directory --output-sync=target test-trainer

node-free: setup
	@if $(ROOT)/devcluster status >/dev/null 2>&1; then \
	    echo "a node is up; the tests start and stop one of their own: make demo-down first" >&2; exit 1; fi

##@ Images

images-check: setup ## Build the images of operator, gateway and, from a stand-in, TGI; look into them, start them (root)
	PYTHONPATH=images $(ROOT)/python -m image_check operator gateway tgi

images-check-all: setup ## The same for all images; trainer and engine take about 30 GB of disk (root)
	PYTHONPATH=images $(ROOT)/python -m image_check

images-clean: ## Remove the images and what their builds keep (root)
	rm -rf $${WARDROBE_CACHE:-/var/cache/wardrobe}/images

##@ Figures

bench-operator: setup ## API requests and memory of the operator
	$(ROOT)/python benchmarks/operator_cost.py

bench-scale: setup ## Many runs at once: rates, the operator's CPU, requests and memory (JOBS=500)
	$(ROOT)/python benchmarks/scale.py $(or $(JOBS),500)

bench-training: setup ## What the hospital's adapters are worth, trained on the node (root; about 8 min)
	$(ROOT)/python benchmarks/training_quality.py

bench-node: setup ## Seconds until the node is Ready, and gone (root)
	$(ROOT)/python benchmarks/node_up_down.py $(or $(ROUNDS),3)

bench-gateway: setup ## What router and agent add to a request
	$(ROOT)/python benchmarks/gateway_latency.py

bench-rollback: setup ## Seconds until another adapter answers, under traffic (root; about 6 min)
	$(ROOT)/python benchmarks/rollback.py

bench-attack: setup ## What one department's key does to another's answers, and to memory (root; about 8 min)
	$(ROOT)/python benchmarks/attack.py

bench-train: setup-trainer ## Tokens a second beside plain TRL, and what interruptions cost (about 9 min)
	OMP_NUM_THREADS=$(shell nproc) $(TRAINER)/python benchmarks/train_speed.py

bench-data: setup-trainer ## What checking a dataset costs, and what it finds (about 3 min; ROWS=1000000: about 20)
	$(TRAINER)/python benchmarks/data_check.py

bench-assess: setup-trainer ## What measuring an adapter costs beside two bare forward passes (about 2 min)
	$(TRAINER)/python benchmarks/assess_cost.py

bench-tracking: setup setup-trainer setup-mlflow ## Tokens a second with MLflow beside those without (PAIRS=6)
	OMP_NUM_THREADS=$(shell nproc) $(ROOT)/python benchmarks/tracking_cost.py $(PAIRS)

bench-gpu: setup-trainer ## Memory and speed of training bases of 1B and 8B on a GPU, beside plain TRL (needs a GPU)
	$(TRAINER)/python benchmarks/train_gpu.py

bench-engine: setup-engine ## Many adapters in one batch beside the base alone
	$(ENGINE)/python benchmarks/engine_batch.py

bench-engines: setup setup-trainer setup-engine setup-vllm ## Engines behind the same proof: first answers, flips, faults found, tokens/s (ARGUMENTS=--help)
	HF_HUB_OFFLINE=1 $(ROOT)/python -m benchmarks.engines $(ARGUMENTS)

bench-proof: setup ## What an engine's noise makes of verdicts, 10,000 of each (about 20 min)
	$(ROOT)/python benchmarks/proof_noise.py

bench-tolerance: setup setup-trainer setup-engine setup-vllm ## How far engines' scores on a CPU are from recorded ones (about 5 min)
	$(ROOT)/python benchmarks/proof_tolerance.py
	$(ROOT)/python benchmarks/proof_tolerance.py --engine VLLM

##@ Upkeep

setup: ## Make or update .venv, where the tools and the operator are
	$(UV) sync --locked --quiet

setup-trainer: ## Make or update .venv-trainer, with torch (a few GB the first time)
	UV_PROJECT_ENVIRONMENT=.venv-trainer $(UV) sync --locked --quiet --package wardrobe-trainer --group test

setup-engine: ## Make or update .venv-engine
	UV_PROJECT_ENVIRONMENT=.venv-engine $(UV) sync --locked --quiet --package wardrobe-engine --group test

setup-vllm: ## Make or update .venv-vllm, which tests run vLLM in (6 GB, most of it shared with the others)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-vllm $(UV) sync --locked --quiet --project envs/vllm

setup-mlflow: ## Make or update .venv-mlflow, where tests have MLflow's server from (600 MB)
	UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-mlflow $(UV) sync --locked --quiet --project envs/mlflow

kinds: setup ## Write crds/ and the chart's copies from crds/source
	$(ROOT)/python tools/kinds.py

docs: setup ## Write docs/conditions.md and docs/metrics.md from the code
	PYTHONPATH=docs:models/src:trainer_image/src:engine_image/src $(ROOT)/python -m wardrobe_docs

golden: setup ## Write tests/golden/, what the operator makes of a resource; read the difference before it is committed
	PYTHONPATH=tests:docs:models/src:trainer_image/src:engine_image/src $(ROOT)/python -m support.golden

clean: ## Remove environments and caches of this checkout
	rm -rf .venv .venv-trainer .venv-engine .venv-vllm .venv-mlflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
