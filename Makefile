# `make demo` and `make test` are the whole set-up: each makes .venv where it is missing and installs the pinned versions of
# constraints.txt (what harness needs to run) and constraints-dev.txt (what develops and tests it). A second call installs
# nothing. Assumes python3 >= 3.11 (PYTHON=… names another), make and git.

PYTHON ?= python3
TORCH := 2.13.0
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
READY := .venv/installed
WORKERS ?= 2
AUDIT := pip-audit==2.10.1
PINS := constraints.txt constraints-dev.txt

.PHONY: demo test lint oracle bench soak fuzz gpu audit lock clean

demo: $(READY)
	@$(BIN)/harness demo --keep demo

# In the order of the files: the demo's story takes minutes in one piece, and must not be what is left for the end.
# Commands that tests start would compile harness anew every time if the environment kept Python from writing bytecode.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY) lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder -m "not oracle and not bench and not soak and not gpu"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Long equality suites against upstream libraries on real data; prints the report it wrote to reports/.
oracle: $(READY)
	$(BIN)/python -m pytest -m oracle -s

bench: $(READY)
	$(BIN)/python -m pytest -m bench -s

# Many random damages, interruptions and examples: what `make test` tries a few of.
soak: $(READY)
	$(BIN)/python -m pytest -m soak -s
	$(BIN)/python -m pytest -m "hypothesis and not (oracle or bench or soak or gpu)" --hypothesis-profile=thorough

# Every reader of text and files on nearly valid inputs for SECONDS: with atheris if it is installed (the extra `fuzz`),
# else with hypothesis.
SECONDS ?= 600
fuzz: $(READY)
	$(BIN)/python tests/fuzz/campaign.py $(SECONDS)

# On a CUDA machine; brings no Python of its own: `make gpu BIN=/usr/bin` uses that machine's packages.
gpu:
	$(BIN)/python -m pytest -m gpu -s

# Known vulnerabilities of what harness needs to run. pip-audit, in an environment of its own, asks pypi.org about each pin.
audit:
	@test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/python -m pip --disable-pip-version-check --quiet install $(AUDIT); }
	@sed -E '/^ /d; /^#/d; s/ \\$$//' constraints.txt > .venv/runtime.txt
	@.venv/audit/bin/python .ci/audit.py .venv/runtime.txt

# torch comes last and without a hash: its CPU and its CUDA wheel share a version, and which one is found is the
# machine's choice. What the CUDA wheel asks for is pinned in constraints.txt, by version only, for the same reason.
$(READY): $(PINS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "harness needs Python 3.11 or newer, this is %s: set PYTHON=" % sys.version.split()[0])'
	@test -x $(BIN)/python || { echo "creating .venv (a few minutes, once)"; $(PYTHON) -m venv .venv; }
	@awk '/^[a-z0-9]/ {keep = !/^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/} keep' $(PINS) > .venv/hashed.txt
	@awk '/^setuptools==/ {keep = 1} /^[a-z0-9]/ && !/^setuptools==/ {keep = 0} keep' $(PINS) > .venv/builder.txt
	@sed -E '/^ /d; /^#/d; s/ \\$$//' $(PINS) > .venv/versions.txt
	$(PIP) install --require-hashes --no-deps -r .venv/builder.txt
	$(PIP) install --require-hashes --no-deps --no-build-isolation -r .venv/hashed.txt
	$(PIP) install --constraint .venv/versions.txt torch
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(READY)

# Resolves pyproject.toml again for every platform and Python it allows: first what runs, then what develops beside it.
# Needs uv, which nothing else here does. torch and what its CUDA build needs are pinned without hashes (see above).
UV := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
lock:
	@echo "torch==$(TORCH)" > .torch.txt
	$(UV) --constraint .torch.txt --upgrade -o .run.txt
	@sed -E '/^ /d; s/ \\$$//' .run.txt > .versions.txt
	$(UV) --constraint .versions.txt --extra dev --upgrade -o .all.txt
	@{ echo "# Made by 'make lock'. Every version that harness needs to run, as tested. Hashes for all but torch and what its CUDA build needs."; \
	  awk '/^[a-z0-9]/ {bare = /^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/; if (bare) sub(/ \\$$/, "")} !(bare && /^ /)' .run.txt; } > constraints.txt
	@{ echo "# Made by 'make lock'. What develops and tests harness, beside constraints.txt."; \
	  awk 'NR == FNR {if (/^[a-z0-9]/) runs[$$0]; next} /^[a-z0-9]/ {keep = !($$0 in runs)} keep' .run.txt .all.txt; } > constraints-dev.txt
	@rm .run.txt .all.txt .versions.txt .torch.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist demo site
