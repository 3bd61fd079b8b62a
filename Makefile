# Everything runs in .venv, made here from the pinned versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: demo test docs lint benchmark browser notebooks clean

## Set up, run the main job on the embedded digits, and say where the results are.
demo: .venv/.installed
	$(BIN)/landscape demo --out runs/demo

## Set up (a browser too, where one may be installed) and run all tests.
# All but those of a GPU on the CPU, which alone computes the same to the last bit every time.
# Bytecode is kept: some hundred tests start a process of their own, which would compile anew.
# Three at a time, because tests wait for processes and a browser: of two cores, two tests leave
# 6 % idle, three 0.7 %, and a fourth only costs its own start.
# A test that waits for ever fails after 300 s; the longest takes 20.
test: .venv/.installed-test browser
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= \
	  $(BIN)/pytest -n 3 --dist worksteal --ignore tests/test_gpu.py \
	  --ignore tests/test_site.py --durations=20 \
	  -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true
	$(BIN)/pytest tests/test_gpu.py

## Build the site in site/: a broken link or a public name without documentation is an error.
docs: .venv/.installed-test browser
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --site-dir site
	LANDSCAPE_SITE=site $(BIN)/pytest -q tests/test_site.py

## What CI asks beyond the tests.
lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## Repeat the recorded benchmarks and print new medians over recorded ones.
benchmark: .venv/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[benchmarks]'
	OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(BIN)/python benchmarks/record.py --repeat

## Execute the notebooks on the demo's results and keep their outputs.
notebooks: .venv/.installed-test
	PLOTLY_RENDERER=png $(BIN)/jupytext --to ipynb --execute notebooks/*.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	  then apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv .venv; \
	  else echo "the venv module is missing: install python3-venv"; exit 1; fi; }

.venv/.installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

browser: .venv/.installed-test
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	  then apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
	  else $(BIN)/playwright install chromium; fi; } \
	  || echo "no browser could be installed: the tests that need one are skipped"

clean:
	rm -rf .venv runs site
