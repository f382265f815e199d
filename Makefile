# The two commands of a new user are `make demo` and `make test`; the rest is for those who work on Burnish.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
IMAGE ?=
ARGS ?=
PYTHON := build/venv/bin/python

.DEFAULT_GOAL := build
.PHONY: build test models demo asan bench format check-format tidy clean setup

setup:
	@tools/setup.sh

# The command at build/bin/burnish, `import burnish` in build/venv.
build: setup
	@[[ -f build/release/build.ninja ]] || cmake --preset release
	@cmake --build build/release -j $(JOBS) --target product
	@mkdir -p build/bin
	@ln -sfn ../release/src/driver/burnish build/bin/burnish
	@ln -sfn ../release/src/search/burnish-worker build/bin/burnish-worker

test: build models
	@cmake --build build/release -j $(JOBS)
	@tools/test.sh release

# Without a network the tests of whole networks are skipped.
models: setup
	@$(PYTHON) tools/fetch_models.py || true
	@$(PYTHON) tools/make_models.py

# The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer.
asan: setup models
	@[[ -f build/asan/build.ninja ]] || cmake --preset asan
	@cmake --build build/asan -j $(JOBS)
	@tools/test.sh asan

# A picture of one's own: make demo IMAGE=mine.jpg
demo: build
	@tools/demo.sh "$(IMAGE)"

# For example: make bench ARGS="--models centerface --threads 1"
bench: build
	@tools/setup.sh --bench
	@$(PYTHON) bench/peers.py $(ARGS)

sources = git ls-files -co --exclude-standard -- '*.cpp' '*.h' '*.hpp'

format: setup
	@$(sources) | xargs build/venv/bin/clang-format -i

check-format: setup
	@$(sources) | xargs build/venv/bin/clang-format --dry-run --Werror

tidy: build
	@run-clang-tidy -quiet -p build/release '$(CURDIR)/src/.*'

clean:
	rm -rf build/release build/debug build/asan build/bin build/demo
