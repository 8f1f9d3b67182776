#!/usr/bin/env bash
# build.sh c OUT: build the C guest (2 s). scripts/setup-guest-tools.sh c comes first.
set -euo pipefail

[ "$1" = c ] || { echo "build.sh: unknown guest $1 (c)" >&2; exit 1; }
out=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${BERTH_TOOLS:-${BERTH_CACHE:-$HOME/.cache/berth}/tools}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

"$here/../wit/assemble.sh" p2 "$work/wit"
"$tools/bin/wit-bindgen" c "$work/wit" --world http-guest --out-dir "$work" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }

# Rust's toolchain has wasm-component-ld, clang's folder the linker that it calls.
cd "$here/.."
host=$(rustc -vV | sed -n 's/^host: //p')
export PATH="$(rustc --print sysroot)/lib/rustlib/$host/bin:$tools/clang/bin:$PATH"
LD_LIBRARY_PATH=$(echo "$tools"/clang/usr/lib/*-linux-gnu) clang --target=wasm32-wasip2 --sysroot="$tools/wasi-libc/usr" \
    -Os -Wall -mreference-types -mexec-model=reactor -Wl,-s,--growable-table -I"$work" "$here/handler.c" "$work"/http_guest.c "$work"/http_guest_component_type.o -o "$out"
