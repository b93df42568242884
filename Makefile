# fetchd's workshop. Needs a Debian with python3 (3.11 or newer), python3-venv and make, and nothing else.
# Everything goes into .venv, at the versions and hashes of the requirements*.lock files.

PYTHON ?= python3
ARGS   ?=
IMAGE  ?= fetchd:latest

VENV := .venv
BIN  := $(VENV)/bin
# The installed files are compiled, whatever the environment says: else every start compiles them again.
PIP  := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
CODE := fetchd tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test interop systemd-test browser-test oauth-test image-test crash soak bench bench-quick bench-micro lint format reference lock image clean

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo '  PYTHON=… picks the interpreter; ARGS=… goes to fetchd demo, to pytest, or to uv pip compile (lock).'

demo: $(VENV)/.run ## shows what fetchd does, against a mail server of its own
	@$(BIN)/fetchd demo $(ARGS)

test: $(VENV)/.dev ## runs all tests; installs Dovecot through apt where it is missing
	@sh .ci/need dovecot
	@sh .ci/need fetchmail getmail mpop || true # without them the tests of fetchd import are skipped, and say why
	@$(BIN)/python -m pytest $(ARGS)

interop: $(VENV)/.dev ## tests against other real servers, in chroots that are kept in /var/cache/fetchd-interop
	@sh .ci/need mmdebstrap || true # without it the tests are skipped, and say why
	@$(BIN)/python -m pytest -m interop tests/interop $(ARGS)

systemd-test: $(VENV)/.dev ## boots Debians with a systemd of their own, and runs fetchd as their service
	@sh .ci/need mmdebstrap systemd-nspawn || true # without them the tests are skipped, and say why
	@$(BIN)/python -m pytest -m systemd tests/systemd $(ARGS)

browser-test: $(VENV)/.dev ## looks at the status page in a real Chromium; installs it through apt where it is missing
	@sh .ci/need chromium
	@$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

oauth-test: $(VENV)/.dev ## logs in with OAuth 2 at a real provider (npm's oidc-provider, kept in /var/cache/fetchd-oauth) and Dovecot
	@sh .ci/need dovecot
	@$(BIN)/python -m pytest -m 'oauth or not oauth' tests/oauth $(ARGS)

image-test: $(VENV)/.dev ## builds the container image with buildah, and runs it with podman (root)
	@sh .ci/need buildah podman crun mmdebstrap || true # without them the tests are skipped, and say why
	@$(BIN)/python -m pytest -rs -m 'image or not image' tests/image tests/packaging/test_container.py $(ARGS)

crash: $(VENV)/.dev ## a fault at every call that changes a disk, and what it costs: nothing lost, nothing twice
	@sh .ci/need gcc mkfs.ext4 mkfs.xfs || true # without them tests are skipped, and say why
	@$(BIN)/python -m pytest -m 'crash or not crash' -o faulthandler_timeout=3600 tests/crash $(ARGS)

soak: $(VENV)/.dev ## thousands of polls with faults injected, and what the daemon holds all the while: a flat line
	@sh .ci/need dovecot
	@$(BIN)/python -m tests.soak $(ARGS)

bench: $(VENV)/.bench ## measures fetchd beside mpop, fdm, fetchmail and getmail6, and writes docs/benchmarks.md; best as root
	@sh .ci/need dovecot mpop fdm fetchmail maildrop getmail
	@$(BIN)/python -m tests.benchmarks --write $(ARGS)

bench-quick: $(VENV)/.bench ## the telling rows of it, in a few minutes
	@sh .ci/need dovecot mpop fdm fetchmail maildrop getmail
	@$(BIN)/python -m tests.benchmarks --quick --write $(ARGS)

bench-micro: $(VENV)/.bench ## framing, planning, staging and the store on their own, with pytest-benchmark
	@$(BIN)/python -m pytest -q tests/benchmarks/micro/bench_paths.py $(ARGS)

lint: $(VENV)/.dev ## checks style, types and the layers
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## formats the code, and mends what can be mended
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

reference: $(VENV)/.run ## writes docs/configuration.md, the manual pages and the JSON Schema anew, from what they tell of
	@$(BIN)/python -m fetchd.cli.manual

lock: ## writes the locks anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@sh .ci/lock $(PYTHON) $(ARGS)

image: ## builds the container image with docker, podman or buildah
	@sh .ci/image $(IMAGE)

clean: ## removes what the other targets made
	@rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	@find fetchd tests -type d -name __pycache__ -prune -exec rm -rf {} +

# ── the virtual environment: each stamp stands for one step, and is older than what calls for the step again ────────

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'fetchd needs Python 3.11 or newer, and $(PYTHON) is not: set PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'Python cannot make virtual environments here: apt-get install python3-venv' >&2; exit 1; }
	@echo 'Making $(VENV) …'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements.lock requirements-build.lock pyproject.toml
	@echo 'Installing fetchd …'
	@$(PIP) install --require-hashes -r requirements-build.lock -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo 'Installing what development needs …'
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements-bench.lock
	@echo 'Installing what the benchmarks need …'
	@$(PIP) install --require-hashes -r requirements-bench.lock
	@touch $@
