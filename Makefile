# make demo      pictures of a dog and a cat from the model that ships with the project, into out/
# make test      all tests (slow ones: make test-slow; as other processors compute: make test-isa)
# make lint      clang-format, and clang-tidy over what changed since it was last run over everything (make lint-all)
# make docs      the documentation's site, with the C++ reference, into build/docs; fails on a dead link
# Each installs what is missing (tools/setup.sh) and builds what it needs; a second call does nothing twice.
.DEFAULT_GOAL := demo
BUILD := build/release
JOBS ?= $(shell nproc)

.PHONY: demo program cuda setup-cuda build test test-slow test-isa lint lint-all docs fuzz asan tsan setup setup-dev clean
setup:
	@tools/setup.sh

setup-dev:
	@tools/setup.sh --dev

# For GPUs: CUDA's libraries, and libdiffract_cuda beside the program (needs nvcc 13).
setup-cuda:
	@tools/setup_cuda.sh

cuda: setup-cuda
	@test -f build/cuda/build.ninja || cmake --preset cuda
	@cmake --build --preset cuda --parallel $(JOBS)

# The program alone: no tests, benchmarks or examples.
program: setup
	@test -f $(BUILD)/build.ninja || cmake --preset release
	@cmake --build --preset release --parallel $(JOBS) --target diffract

build: setup-dev
	@test -f $(BUILD)/build.ninja || cmake --preset release
	@cmake --build --preset release --parallel $(JOBS)

demo: program
	@mkdir -p out
	$(BUILD)/bin/diffract generate --prompt "a dog" --prompt "a cat" --steps 25 --seed 7 --output "out/{prompt}.png"

test: build
	ctest --preset release --output-on-failure

test-slow: build
	ctest --preset slow --output-on-failure

test-isa: build
	ctest --preset isa --output-on-failure

lint: setup-dev
	@test -f build/lint/build.ninja || cmake --preset lint
	@cmake --build --preset lint --parallel $(JOBS)

lint-all: setup-dev
	@test -f build/lint/build.ninja || cmake --preset lint
	@cmake --build --preset lint --parallel $(JOBS) --target lint-all

# The pages first: mkdocs clears the folder, then Doxygen writes into it.
docs: setup-dev
	@tools/check_docs.py
	@mkdocs build --quiet --strict
	@doxygen docs/Doxyfile
	@tools/check_docs.py --site build/docs

asan: setup-dev
	@test -f build/asan/build.ninja || cmake --preset asan
	@cmake --build --preset asan --parallel $(JOBS)
	ctest --preset asan --output-on-failure

# What has threads and no libtorch, which is not built for it: the launcher, its rendezvous, the folders below.
tsan: setup-dev
	@test -f build/tsan/build.ninja || cmake --preset tsan
	@cmake --build --preset tsan --parallel $(JOBS)
	ctest --preset tsan --output-on-failure

fuzz: setup-dev
	@test -f build/fuzz/build.ninja || cmake --preset fuzz
	@cmake --build --preset fuzz --parallel $(JOBS)
	ctest --preset fuzz --output-on-failure

clean:
	rm -rf build out
