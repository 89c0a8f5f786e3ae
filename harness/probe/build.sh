#!/bin/sh
# Builds kernels.wasm from kernels.c: clang and wasm-ld, no libc. The output is committed.
set -eu
cd "$(dirname "$0")"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
# -ffast-math as engines are built so that reductions vectorise; no builtins: there is no libc.
clang --target=wasm32 -O3 -msimd128 -mbulk-memory -ffast-math -fno-builtin -nostdlib \
  -Wall -Wextra -c kernels.c -o "$object"
wasm-ld "$object" -o kernels.wasm --no-entry --import-memory --initial-memory=131072 \
  -z stack-size=16384 --strip-all
ls -l kernels.wasm
