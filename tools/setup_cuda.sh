#!/usr/bin/env bash
# Installs what libdiffract_cuda runs with, into .deps/ beside libtorch's CPU half: the CUDA half of the same wheel and
# NVIDIA's libraries, by the versions that the wheel names (about 5 GB unpacked). The driver is the system's: 580 or newer.
# Building it needs nvcc 13 (NVIDIA's package cuda-nvcc-13-0) besides. Safe to run again.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
deps=${DIFFRACT_DEPS:-$root/.deps}
"$root/tools/setup.sh"

stamp=$deps/cuda.stamp
if cmp -s "$root/cmake/wheels_cuda.txt" "$stamp"; then exit 0; fi
echo "setup: fetching CUDA's libraries (2.5 GB) into $deps"
wheels=$(mktemp -d "$deps/wheels.XXXXXX")
trap 'rm -rf "$wheels"' EXIT
fetch() {
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$wheels" \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "$@"
}
grep '^torch==' "$root/cmake/wheels.txt" > "$wheels/torch.txt"
fetch -r "$wheels/torch.txt"
fetch -r "$root/cmake/wheels_cuda.txt"
unzip -q -o "$wheels"/torch-*.whl 'torch/lib/libtorch_cuda.so' 'torch/lib/libc10_cuda.so' \
  'torch/lib/libtorch_cuda_linalg.so' 'torch/lib/libtorch_nvshmem.so' -d "$deps"
for wheel in "$wheels"/nvidia_*.whl; do
  unzip -q -o "$wheel" 'nvidia/*/lib/*' '*/licenses/*' -d "$deps" 2>/dev/null || [ $? = 11 ]  # some have no licences folder
done
unzip -q -o "$wheels"/nvidia_nccl_cu13-*.whl 'nvidia/nccl/include/*' -d "$deps"
cp "$root/cmake/wheels_cuda.txt" "$stamp"
