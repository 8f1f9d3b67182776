#!/usr/bin/env bash
# build.sh js|js-p3 OUT: build a JavaScript guest (about 10 s). scripts/setup-guest-tools.sh js comes first.
set -euo pipefail

name=$1 out=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${BERTH_TOOLS:-${BERTH_CACHE:-$HOME/.cache/berth}/tools}
[ ! -d "$tools/node/bin" ] || PATH=$tools/node/bin:$PATH
bin=$tools/js/node_modules/.bin
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

case $name in
js)
    # The release of WASI that the engine StarlingMonkey was built for.
    "$here/../wit/assemble.sh" p2 "$work/wit" 0.2.10
    "$bin/jco" componentize "$here/p2.js" --wit "$work/wit" --world-name http-guest --out "$out"
    ;;
js-p3)
    "$here/../wit/assemble.sh" p3 "$work/wit"
    "$bin/componentize-qjs" --wit "$work/wit" --world http-guest --js "$here/p3.js" --output "$out"
    ;;
*) echo "build.sh: unknown guest $name (js, js-p3)" >&2; exit 1 ;;
esac
