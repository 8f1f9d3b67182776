#!/usr/bin/env bash
# build.sh go OUT: build the Go guest (20 s the first time). scripts/setup-guest-tools.sh go comes first.
set -euo pipefail

[ "$1" = go ] || { echo "build.sh: unknown guest $1 (go)" >&2; exit 1; }
out=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${BERTH_TOOLS:-${BERTH_CACHE:-$HOME/.cache/berth}/tools}
[ ! -d "$tools/node/bin" ] || PATH=$tools/node/bin:$PATH
[ ! -d "$tools/go/go/bin" ] || PATH=$tools/go/go/bin:$PATH
jco=$tools/js/node_modules/.bin/jco
work=$(mktemp -d); trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

"$here/../wit/assemble.sh" p2 "$work/wit"
"$tools/bin/wit-bindgen" go "$work/wit" --world http-guest --out-dir "$work/module" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
mkdir "$work/module/export_wasi_http_incoming_handler"
cp "$here/handler.go" "$work/module/export_wasi_http_incoming_handler/"
(
    cd "$work/module"
    # Everything is here: no module proxy, no other toolchain.
    export GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local GOSUMDB=off GOWORK=off
    go mod edit -replace "go.bytecodealliance.org/pkg=$tools/go-pkg"
    # c-shared makes a reactor; the bindings link to the runtime's own allocator, which the linker must be told to allow.
    GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-checklinkname=0 -s -w' -o "$work/core.wasm" .
)
"$jco" embed "$work/core.wasm" --wit "$work/wit" --world-name http-guest --output "$work/embed.wasm"
"$jco" new "$work/embed.wasm" --wasi-reactor --output "$out"
