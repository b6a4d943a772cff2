#!/usr/bin/env bash
# Installs what diffract is built with: Debian packages, and the libtorch engine from PyPI wheels into .deps/.
# With --dev also what tests, lint and fuzzing need.
# Safe to run again: what is there already is left alone. Set DIFFRACT_DEPS to share one engine between clones.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
deps=${DIFFRACT_DEPS:-$root/.deps}

lists=("$root/cmake/debian.txt")
case "${1:-}" in
  "") ;;
  --dev) lists+=("$root/cmake/debian_dev.txt") ;;
  *) echo "setup: unknown option $1; usage: setup.sh [--dev]" >&2; exit 2 ;;
esac

missing=()
for package in $(grep -hv '^#' "${lists[@]}"); do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing ${missing[*]}"
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
fi

# The stamp holds the pinned versions and hashes, so a changed pin replaces the engine.
stamp=$deps/engine.stamp
if ! cmp -s "$root/cmake/wheels.txt" "$stamp"; then
  echo "setup: fetching libtorch (530 MB) into $deps"
  mkdir -p "$deps"
  wheels=$(mktemp -d "$deps/wheels.XXXXXX")
  trap 'rm -rf "$wheels"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$wheels" \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 -r "$root/cmake/wheels.txt"
  rm -rf "$deps/torch" "$deps/nvidia"
  unzip -q -o "$wheels"/torch-*.whl 'torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' \
    'torch/lib/libgomp.so.1' 'torch-*/licenses/*' 'torch-*/METADATA' -d "$deps"
  unzip -q -o "$wheels"/nvidia_cuda_runtime-*.whl 'nvidia/cu13/lib/libcudart.so.13' '*/licenses/*' -d "$deps"
  unzip -q -o "$wheels"/nvidia_cuda_cupti-*.whl 'nvidia/cu13/lib/libcupti.so.13' '*/licenses/*' -d "$deps"
  cp "$root/cmake/wheels.txt" "$stamp"
fi
