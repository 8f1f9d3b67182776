#!/usr/bin/env bash
# setup-registry.sh
#
# Builds the OCI registry that tests pull from: the distribution project's, as a tool dependency of the Go module beside this file, from
# the Go module proxy. Prints, alone on stdout, the path of the program: BERTH_TOOLS/registry/registry (default ~/.cache/berth/tools).
#
# Two minutes and 300 MB of Go's caches the first time; idempotent (at once when this version is there) and safe to run concurrently.
# Needs: Go of at least 1.26, the machine's own or the one that `setup-guest-tools.sh go` brings.
set -euo pipefail

GO_MINOR=26

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"   # log, die, tools, alone
tools
cd "$(dirname "${BASH_SOURCE[0]}")/registry"

version=$(cat go.mod go.sum | cksum)
there() { [ "$(cat "$TOOLS/registry/.version" 2>/dev/null)" = "$version" ] && echo "$TOOLS/registry/registry"; }
there && exit 0
alone "$TOOLS/.registry.lock"
there && exit 0

minor() { "$1" version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p' || true; }
go=
for candidate in go "$TOOLS/go/go/bin/go"; do
    found=$(minor "$candidate")
    [ "${found:-0}" -lt "$GO_MINOR" ] || { go=$candidate; break; }
done
[ -n "$go" ] || die "no Go of at least 1.$GO_MINOR: install it, or run scripts/setup-guest-tools.sh go"

start=$SECONDS fresh=$TOOLS/.registry.new
log "building the distribution registry (two minutes the first time)"
rm -rf "$fresh"; mkdir "$fresh"
GOTOOLCHAIN=local GOFLAGS='' CGO_ENABLED=0 "$go" build -trimpath -buildvcs=false -mod=readonly -ldflags "-s -w" -o "$fresh/registry" \
    github.com/distribution/distribution/v3/cmd/registry >&2 || die "the registry could not be built"
printf '%s' "$version" >"$fresh/.version"
rm -rf "${TOOLS:?}/registry"; mv "$fresh" "$TOOLS/registry"
log "built the registry in $((SECONDS - start)) s"
there
