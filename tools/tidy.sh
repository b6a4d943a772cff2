#!/usr/bin/env bash
# Runs clang-tidy over diffract/ with all cores. usage: tidy.sh CLANG_TIDY BUILD_DIR
# A file that was clean is not looked at again until it, a header or the checks change (stamps in BUILD_DIR/tidy).
set -euo pipefail
clang_tidy=$1 build=$2
root=$(cd "$(dirname "$0")/.." && pwd)
stamps=$build/tidy
mkdir -p "$stamps"
headers=$(cd "$root" && find diffract tests cmake -name '*.h' -print0 | sort -z | xargs -0 cat .clang-tidy | sha256sum | cut -c1-16)
check() {
  local file=$1 stamp
  stamp=$stamps/$( (echo "$headers"; cat "$file") | sha256sum | cut -c1-32)
  [ -e "$stamp" ] && return 0
  "$clang_tidy" -p "$build" --quiet "$file" 2>/dev/null && touch "$stamp"
}
export -f check
export clang_tidy build stamps headers
cd "$root"
find diffract -name '*.cpp' -print0 | xargs -0 -P "$(nproc)" -I{} bash -c 'check "$@"' _ "$root/{}"
