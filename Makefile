# make demo   pictures of a dog and a cat from the model that ships with the project, into out/
# make test   all tests (slow ones: make test-slow)
# Both install what is missing (tools/setup.sh) and build; a second call does nothing twice.
.DEFAULT_GOAL := demo
BUILD := build/release
JOBS ?= $(shell nproc)

.PHONY: demo cuda setup-cuda build test test-slow lint fuzz asan setup clean
setup:
	@tools/setup.sh

# For GPUs: CUDA's libraries, and libdiffract_cuda beside the program (needs nvcc 13).
setup-cuda:
	@tools/setup_cuda.sh

cuda: setup-cuda
	@test -f build/cuda/build.ninja || cmake --preset cuda
	@cmake --build --preset cuda --parallel $(JOBS)

build: setup
	@test -f $(BUILD)/build.ninja || cmake --preset release
	@cmake --build --preset release --parallel $(JOBS)

demo: build
	@mkdir -p out
	$(BUILD)/bin/diffract generate --prompt "a dog" --prompt "a cat" --seed 7 --output "out/{prompt}.png"

test: build
	ctest --preset release --output-on-failure

test-slow: build
	ctest --preset slow --output-on-failure

lint: setup
	@test -f build/lint/build.ninja || cmake --preset lint
	@cmake --build --preset lint --parallel $(JOBS)

asan: setup
	@test -f build/asan/build.ninja || cmake --preset asan
	@cmake --build --preset asan --parallel $(JOBS)
	ctest --preset asan --output-on-failure

fuzz: setup
	@test -f build/fuzz/build.ninja || cmake --preset fuzz
	@cmake --build --preset fuzz --parallel $(JOBS)
	ctest --preset fuzz --output-on-failure

clean:
	rm -rf build out
