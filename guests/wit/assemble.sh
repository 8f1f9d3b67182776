#!/usr/bin/env bash
# assemble.sh p2|p3 FOLDER [VERSION]: fill FOLDER with the world of that name and the WASI packages it needs.
#
# The packages are those in the crates wasip2 and wasip3 that the Rust guests are built with. With VERSION, those of 0.2 are labelled
# as another patch release, since an engine built for one release imports exactly that; the texts differ in labels only.
set -euo pipefail

world=$1 folder=$2 version=${3:-}
guests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

crate=$(cd "$guests" && cargo metadata --locked --format-version 1 --filter-platform wasm32-wasip2 | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(next(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == sys.argv[1]))' "wasi$world")

mkdir -p "$folder/deps"
cp "$guests/wit/$world.wit" "$folder/world.wit"
cp "$crate"/wit/deps/*.wit "$folder/deps/"
chmod -R u+w "$folder"
if [ -n "$version" ]; then
    sed -i -E -e "s/@0\.2\.[0-9]+/@$version/g" -e 's/@since\(version = 0\.2\.[0-9]+\)/@since(version = 0.2.0)/' "$folder"/*.wit "$folder"/deps/*.wit
    # JavaScript's engine was built with this gate open, and its splicer wants the same of the guest.
    sed -i '/@unstable(feature = network-error-code)/d' "$folder/deps/sockets.wit"
fi
