#!/usr/bin/env bash
# build.sh py|py-p3 OUT: build a Python guest (about 15 s). scripts/setup-guest-tools.sh py comes first.
set -euo pipefail

name=$1 out=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${BERTH_TOOLS:-${BERTH_CACHE:-$HOME/.cache/berth}/tools}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

case $name in
py) wasi=p2 ;;
py-p3) wasi=p3 ;;
*) echo "build.sh: unknown guest $name (py, py-p3)" >&2; exit 1 ;;
esac
"$here/../wit/assemble.sh" "$wasi" "$work/wit"
# A copy, since Python leaves its caches beside the source.
cp -r "$here/$wasi" "$work/app"
PYTHONPATH=$tools/py python3 -c 'import sys, componentize_py; sys.argv[0] = "componentize-py"; sys.exit(componentize_py.script())' \
    --quiet --wit-path "$work/wit" --world http-guest componentize --python-path "$work/app" app --output "$out"
