# Two commands: make demo, make test. Both set up .venv first, once, and again when the requirements change.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow setup

demo: setup
	$(BIN)/sensorium demo

test: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n auto -m "not slow"

slow: setup
	$(BIN)/pytest -m slow

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt $(wildcard src/sensorium/nn/ops/*.c src/sensorium/nn/ops/*.h)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
