.PHONY: install test slow lint bench

install:  ## editable, with everything a contributor needs
	pip install -e '.[test]' && pre-commit install

test:
	pytest

slow:
	pytest -m slow

lint:
	ruff check . && ruff format --check .

bench:
	python bench/segment.py
