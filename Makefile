# `make demo` and `make test` are the whole set-up: each makes .venv where it is missing and installs
# the pinned versions of constraints.txt. A second call installs nothing.
# Assumes python3 >= 3.11 (PYTHON=… names another), make and git.

PYTHON ?= python3
TORCH := 2.13.0
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
READY := .venv/installed
WORKERS ?= 2

.PHONY: demo test lint oracle bench gpu lock clean

demo: $(READY)
	@$(BIN)/harness demo --keep demo

# In the order of the files: the demo's story takes minutes in one piece, and must not be what is left for the end.
test: $(READY) lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m "not oracle and not bench and not gpu"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Long equality suites against upstream libraries on real data; prints the report it wrote to reports/.
oracle: $(READY)
	$(BIN)/python -m pytest -m oracle -s

bench: $(READY)
	$(BIN)/python -m pytest -m bench -s

# On a CUDA machine; brings no Python of its own: `make gpu BIN=/usr/bin` uses that machine's packages.
gpu:
	$(BIN)/python -m pytest -m gpu -s

# torch comes last and without a hash: its CPU and its CUDA wheel share a version, and which one is found is the
# machine's choice. What the CUDA wheel asks for is pinned in constraints.txt, by version only, for the same reason.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "harness needs Python 3.11 or newer, this is %s: set PYTHON=" % sys.version.split()[0])'
	@test -x $(BIN)/python || { echo "creating .venv (a few minutes, once)"; $(PYTHON) -m venv .venv; }
	@awk '/^[a-z0-9]/ {keep = !/^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/} keep' constraints.txt > .venv/hashed.txt
	@awk '/^setuptools==/ {keep = 1} /^[a-z0-9]/ && !/^setuptools==/ {keep = 0} keep' constraints.txt > .venv/builder.txt
	@sed -E '/^ /d; /^#/d; s/ \\$$//' constraints.txt > .venv/versions.txt
	$(PIP) install --require-hashes --no-deps -r .venv/builder.txt
	$(PIP) install --require-hashes --no-deps --no-build-isolation -r .venv/hashed.txt
	$(PIP) install --constraint .venv/versions.txt torch
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(READY)

# Resolves pyproject.toml anew for every platform and Python it allows. Needs uv, which nothing else here does.
lock:
	@echo "torch==$(TORCH)" > .torch.txt
	uv pip compile pyproject.toml --constraint .torch.txt --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --quiet --upgrade -o .lock.txt
	@{ echo "# Made by 'make lock': every version this project is tested with. Hashes for all but torch and what its CUDA build asks for."; \
	  awk '/^[a-z0-9]/ {bare = /^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/; if (bare) sub(/ \\$$/, "")} !(bare && /^ /)' .lock.txt; } > constraints.txt
	@rm .lock.txt .torch.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo site
