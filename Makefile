.PHONY: install test slow lint bench

install:  ## editable, with everything a contributor needs
	pip install -e '.[test]' && pre-commit install

test:
	pytest

slow:
	pytest -m slow

lint:
	ruff check . && ruff format --check .

bench:  ## list the benchmarks, with what each of them measures
	@grep -l __main__ bench/*.py | while read file; do echo "python $$file   # $$(head -n 1 $$file | tr -d '"')"; done
