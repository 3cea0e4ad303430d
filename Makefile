# Each target works on a fresh machine that has Python 3.11 or newer: it makes its own environment.
PYTHON ?= python3
ENV := .venv
BIN := $(ENV)/bin
READY := $(ENV)/.ready
DEMO_READY := $(ENV)/.ready-demo
BENCH_ENV := .venv-bench
BENCH_READY := $(BENCH_ENV)/.ready
TUNE_READY := $(BENCH_ENV)/.ready-tune
COMPRESS_READY := $(BENCH_ENV)/.ready-compress
DEPLOY_READY := $(BENCH_ENV)/.ready-deploy

.PHONY: demo test check bench bench-parallel bench-tune bench-compress bench-deploy docs clean

demo: $(DEMO_READY)  ## train a language model on Python's own sources, and look at its report
	$(BIN)/zafu train zafu/recipes/python.yaml

test: $(READY)  ## the whole suite; its examples are the same each time
	$(BIN)/pytest -n 2 --dist loadfile --hypothesis-profile=ci

check: $(READY)  ## style, types, layers, docs that are made from the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --warnings
	$(BIN)/lint-imports
	$(BIN)/python docs/make_reference.py --check

bench: $(BENCH_READY)  ## zafu's loop beside its peers, in one run and an environment of its own
	$(BENCH_ENV)/bin/python benchmarks/loop/run.py
	$(BENCH_ENV)/bin/python benchmarks/loop/cold.py

bench-parallel: $(BENCH_READY)  ## layouts beside theory, and a step beside torch by hand
	$(BENCH_ENV)/bin/python benchmarks/parallel/measure.py

bench-tune: $(TUNE_READY)  ## searches and the stacked engine beside their peers, and width transfer
	$(BENCH_ENV)/bin/python benchmarks/tune/headline.py
	$(BENCH_ENV)/bin/python benchmarks/tune/search_quality.py
	$(BENCH_ENV)/bin/python benchmarks/tune/overhead.py
	$(BENCH_ENV)/bin/python benchmarks/tune/transfer.py

bench-compress: $(COMPRESS_READY)  ## compressions beside their peers, on a decoder and on pictures
	$(BENCH_ENV)/bin/zafu train benchmarks/compress/text.yaml
	$(BENCH_ENV)/bin/python benchmarks/compress/language.py runs/text-*
	$(BENCH_ENV)/bin/python benchmarks/compress/pictures.py

bench-deploy: $(DEPLOY_READY)  ## one decoder in many runtimes, nets in every form, the server
	$(BENCH_ENV)/bin/zafu train benchmarks/deploy/decoder.yaml
	$(BENCH_ENV)/bin/python benchmarks/deploy/language.py runs/decoder-*
	$(BENCH_ENV)/bin/python benchmarks/deploy/forms.py
	$(BENCH_ENV)/bin/python benchmarks/deploy/server.py

docs: $(READY)  ## write docs/recipe.md from the schema
	$(BIN)/python docs/make_reference.py

$(ENV)/bin/pip:
	$(PYTHON) -m venv $(ENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"

# torch first: its build for this machine then satisfies whatever else asks for it
$(DEMO_READY): pyproject.toml | $(ENV)/bin/pip
	$(BIN)/pip install --quiet "torch>=2.13,<2.14"
	$(BIN)/pip install --quiet --editable .
	touch $@

$(READY): pyproject.toml | $(DEMO_READY)
	$(BIN)/pip install --quiet --editable . --group dev
	touch $@

$(BENCH_READY): benchmarks/loop/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH_ENV)
	$(BENCH_ENV)/bin/pip install --quiet --upgrade "pip>=25.1"
	$(BENCH_ENV)/bin/pip install --quiet "torch>=2.13,<2.14"
	$(BENCH_ENV)/bin/pip install --quiet --editable ".[sklearn]" -r benchmarks/loop/requirements.txt
	touch $@

$(TUNE_READY): benchmarks/tune/requirements.txt | $(BENCH_READY)
	$(BENCH_ENV)/bin/pip install --quiet --editable ".[tune]" -r benchmarks/tune/requirements.txt
	touch $@

$(COMPRESS_READY): benchmarks/compress/requirements.txt | $(BENCH_READY)
	$(BENCH_ENV)/bin/pip install --quiet --editable ".[hub,image]" -r benchmarks/compress/requirements.txt
	touch $@

$(DEPLOY_READY): benchmarks/deploy/requirements.txt | $(BENCH_READY)
	$(BENCH_ENV)/bin/pip install --quiet --editable ".[hub,image,onnx,openvino,executorch,gguf,serve]" -r benchmarks/deploy/requirements.txt
	touch $@

clean:
	rm -rf $(ENV) $(BENCH_ENV) build dist .pytest_cache .ruff_cache .hypothesis
