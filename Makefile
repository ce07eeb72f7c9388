# The commands that people type. What they do stands in Scripts/.

.PHONY: help deps bench demo model test docs lint format
.NOTPARALLEL:

help:
	@echo 'make bench    install what is missing, build release, measure this machine (real weights if they can be fetched)'
	@echo 'make demo     compress a real model by five recipes: text, speed, bytes and perplexity of each, in a table and demo.svg'
	@echo 'make test     every test, as CI runs it; Scripts/test.sh STAGE... runs some of the stages'
	@echo 'make lint     check the formatting of Swift and C; make format corrects it'
	@echo 'make docs     write the documentation of the modules as web pages into .build-docs/html'
	@echo 'make model    fetch the reference model, SmolLM2-135M, into models/'
	@echo 'make deps     install libhwloc-dev, libnuma-dev, libopenblas-dev and pkg-config through apt, or say what is missing'

deps:
	@Scripts/deps.sh

bench: deps
	@Scripts/bench.sh

demo: deps
	@Scripts/demo.sh

model:
	@Scripts/fetch-model.sh

test:
	@Scripts/deps.sh test
	@Scripts/fetch-model.sh || echo 'test: without the reference model; its tests are skipped'
	@Scripts/test.sh

docs:
	@Scripts/docs.sh

lint:
	@Scripts/lint.sh

format:
	@swift format --in-place --parallel --recursive Package.swift Sources Tests Bench Examples
	@Scripts/clang-format.sh -i
