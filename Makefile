# Everything here starts from nothing but python3, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

COUNT ?= 2000
SEED ?= 1
ORDERS ?= 60
KILLS ?= 500
SECONDS ?= 600
# Most of the fault tests' time is waiting, so four run beside each other.
JOBS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo orders test check bench chaos compose-test clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "python3 is needed: install Python 3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## Deliver webhooks while workers are killed [EVENTS=file.jsonl] [STOCK=1]
	@$(BIN)/python -m examples.webhooks --count $(COUNT) --seed $(SEED) \
		$(if $(EVENTS),--events $(EVENTS)) $(if $(STOCK),--stock)

orders: $(READY) ## Run an order service that uses everything, and kill a worker [ORDERS=60] [SEED=1]
	@$(BIN)/python -m examples.orders --orders $(ORDERS) --seed $(SEED)

check: $(READY) ## Lint, format, types, import floors, file sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/python -m tests.sizes

test: check ## All checks and tests, with coverage [EVERYWHERE=1: each test on every Redis this machine has]
	$(BIN)/python -m tests.leftovers --before
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n $(JOBS) --dist worksteal $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/python -m tests.leftovers --after

bench: $(READY) ## Measure against stock Celery in the same run
	$(BIN)/python -m benchmarks $(ARGS)

chaos: $(READY) ## The long fault test [KILLS=500] [SEED=1]; goes on where it stopped; of beats [BEAT=1] [SECONDS=600]; of agents [AGENTS=1] [ARGS=--machine]
	$(BIN)/python -m tests.faults.$(if $(BEAT),beat_chaos --seconds $(SECONDS),$(if $(AGENTS),agent_,)chaos --kills $(KILLS)) --seed $(SEED) $(ARGS)

compose-test: ## Build the stack in containers, start it, kill parts of it, remove it; needs Docker or podman
	@$(PYTHON) -m deploy.compose_test

clean: ## Remove what make made
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
