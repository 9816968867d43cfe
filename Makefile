# make demo, make test, make docs, make faults; make results takes hours and needs the data sets. All set up .venv first,
# once, and again when the requirements change.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs slow faults results setup

demo: setup
	$(BIN)/sensorium demo

test: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n auto -m "not slow"

# site/index.html: the documentation as a site that needs no network.
docs: setup
	$(BIN)/mkdocs build --strict --quiet
	@echo site/index.html

# Runs that are killed, checkpoints that are torn, a full disk; 20,000 damaged files.
faults: setup
	$(BIN)/pytest tests/faults

slow: setup
	$(BIN)/pytest -m slow

# RESULTS: options of benchmarks/results.py, as in make results RESULTS='--only cifar10 --plain'.
results: setup
	$(BIN)/python benchmarks/results.py $(RESULTS)

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt $(wildcard src/sensorium/nn/ops/*.c src/sensorium/nn/ops/*.h)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
