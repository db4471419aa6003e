# `make` says what there is. Every target finds or starts what it needs and is quick the second time.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help install engine images gvisor cluster cluster-down kwok packages trainers image demo demo-cluster test test-soak test-trainers example-grpo lint bench clean
ENVFARM := .venv/bin/envfarm
ARGS ?=

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

install: ## Make .venv, with envfarm and the development tools
	@scripts/python.sh

engine: ## Find a Docker engine, or install and start one
	@scripts/engine.sh

images: engine ## Make the base images (pulled or bootstrapped)
	@scripts/images.sh

gvisor: engine ## Build gVisor and register it with the engine
	@scripts/gvisor.sh

cluster: ## Find a Kubernetes cluster (KUBECONFIG, kind), or build and start one of one node
	@scripts/cluster.sh

cluster-down: ## End that cluster and remove all that it left
	@scripts/cluster.sh down

kwok: ## Build kwok, which plays thousands of nodes and pods (for benchmarks)
	@scripts/cluster/build.sh kwok

trainers: install
	@scripts/trainers.sh

packages:
	@scripts/packages.sh

demo: ## Play every sample task over HTTP and show one table
	@$(MAKE) --no-print-directory -j2 install images
	@.venv/bin/python -m envfarm.orchestrator.demo

image: images ## Build the orchestrator's image, envfarm/orchestrator:1
	@scripts/image.sh

demo-cluster: ## The same in a cluster: deploy the farm there, push the tasks, play them against its Service
	@$(MAKE) --no-print-directory -j3 install images cluster
	@scripts/demo-cluster.sh

test: ## Run all tests, on real Docker, gVisor, Kubernetes and PostgreSQL (ARGS= for pytest)
	@$(MAKE) --no-print-directory -j4 install image gvisor packages cluster trainers
	@scripts/test.sh $(ARGS)

test-soak: ## Run the long tests that `make test` leaves out
	@$(MAKE) --no-print-directory test ARGS="-m soak $(ARGS)"

test-trainers: ## Run the tests with large trainers (TRL and torch: 6 GB) that `make test` leaves out
	@$(MAKE) --no-print-directory -j2 install images
	@scripts/trainers.sh trl
	@scripts/test.sh -m trainers tests/trainers $(ARGS)

example-grpo: ## Train a small model on the terminal tasks with TRL, on one GPU (ARGS= for examples/grpo_terminal.py)
	@$(MAKE) --no-print-directory -j2 install images
	@scripts/example.sh trl examples/grpo_terminal.py $(ARGS)

lint: install ## Check style and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

bench: ## Run the benchmarks side by side with what they beat
	@$(MAKE) --no-print-directory -j2 install images
	@$(ENVFARM) bench all --into docs/benchmarks.md $(ARGS)

clean: ## Remove .venv, caches and what the farm kept in ./envfarm-data
	@chmod -R u+w .cache 2>/dev/null || true
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist envfarm-data src/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
