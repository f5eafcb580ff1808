# What one types. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUNTIME := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

# The tests run in three processes, as some wait for others' processes; more threads would only wait for one another.
export OMP_NUM_THREADS ?= 1
# They start many more, each of which would compile the sources again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo rehearse test check golden docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(RUNTIME) ## the whole story on the embedded data and model, offline; ends with a report in demo/
	$(BIN)/fedsonar demo --out demo

rehearse: $(DEV) ## a Flower deployment on this machine: keys, SuperLink, four SuperNodes, result; stops everything again
	$(BIN)/fedsonar rehearse recipes/atlas/poisoned.toml --set partition.clients=4 --set rounds=3 --out rehearsal

test: check ## linters, types, import rules, then every test
	tests/install_browser.sh $(BIN)
	$(BIN)/python -m pytest -n 3 --dist worksteal

check: $(DEV) ## linters, types and import rules alone
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

golden: $(DEV) ## store today's golden values; the commit says why they changed
	$(BIN)/python -m pytest tests/golden --update-golden

docs: $(RUNTIME) ## check that every relative link in the documents leads somewhere
	$(BIN)/python tests/check_docs.py

clean: ## remove caches and the output of demo and rehearse; leaves the environment and your runs
	rm -rf demo rehearsal build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find src tests recipes -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) here: name a Python of 3.11 or newer, as in make PYTHON=python3.12 test" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "FedSonar needs Python 3.11 or newer and $(PYTHON) is older: name another, as in make PYTHON=python3.12 test" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: python3-venv)" >&2; exit 1; }

# torch goes first and alone, so that the CPU build is taken where the package index offers it.
$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing FedSonar into $(VENV), once: about 2 GB" >&2
	$(PIP) install -q -c constraints.txt torch==2.13.0
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

# ByzFL, which our rules are tested against, asks for a torchvision that fits another torch.
$(DEV): $(RUNTIME)
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	$(PIP) install -q -c constraints.txt --no-deps byzfl
	@touch $@
