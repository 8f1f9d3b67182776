#!/usr/bin/env bash
# setup-bench-tools.sh
#
# Installs what `cargo xtask bench` compares Berth with and measures by, into BERTH_TOOLS (default ~/.cache/berth/tools), and prints
# two lines: the path of wasmtime, and that of wrk. Nothing is installed on the machine itself and root isn't needed.
#
#   wasmtime   wasmtime-cli from crates.io, a release build with its default features (ten to twenty minutes on two cores)
#   wrk        the machine's own if it has one, else Debian's package (half a minute)
#
# Idempotent (what is there at the wanted version is left alone) and safe to run concurrently. Needs: cargo; for wrk Debian's apt.
set -euo pipefail

# The engine's version in Cargo.toml: another one would compare engines and not hosts.
WASMTIME=48.0.8

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"   # log, die, tools, alone, scratch, fetch_deb
tools; alone "$TOOLS/.setup-bench.lock"; scratch
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wasmtime() { # into a folder of its own: `wasmtime` may be many things in the tools' bin
    local start=$SECONDS
    case "$("$TOOLS/peer/bin/wasmtime" --version 2>/dev/null)" in "wasmtime $WASMTIME"*) return 0;; esac
    command -v cargo >/dev/null || die "no cargo: install Rust with rustup"
    log "compiling wasmtime $WASMTIME from crates.io (ten to twenty minutes)"
    env -u CARGO_TARGET_DIR -u RUSTFLAGS cargo install --quiet --locked --force --root "$TOOLS/peer" "wasmtime-cli@$WASMTIME" >&2 ||
        die "wasmtime could not be compiled"
    log "compiled wasmtime in $((SECONDS - start)) s"
}

wrk() { # prints where it is
    local own
    if own=$(type -P wrk); then printf '%s\n' "$own"; return 0; fi
    if [ ! -x "$TOOLS/wrk/wrk" ]; then
        log "installing wrk from Debian (half a minute)"
        local codename fresh=$TOOLS/.wrk.new package
        codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
        [ -n "$codename" ] || die "no wrk, and this isn't Debian: install wrk"
        rm -rf "$fresh"; mkdir "$fresh"
        for package in wrk libluajit-5.1-2; do
            fetch_deb "$WORK/$package" "$codename" . "$package" || die "no wrk: install it (the package $package isn't to be had)"
            dpkg-deb -x "$WORK/$package"/*.deb "$fresh"
        done
        # shellcheck disable=SC2016  # $0 and $@ are the wrapper's own
        printf '#!/bin/sh\nhere=$(dirname "$0")\nLD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/usr/bin/wrk" "$@"\n' >"$fresh/wrk"
        chmod +x "$fresh/wrk"
        # Without arguments it explains itself and fails; with its libraries missing it would not come so far.
        "$fresh/wrk" -v >"$WORK/wrk.log" 2>&1 || grep -q Copyright "$WORK/wrk.log" || die "wrk doesn't run: $(cat "$WORK/wrk.log")"
        rm -rf "$TOOLS/wrk"; mv "$fresh" "$TOOLS/wrk"
    fi
    printf '%s\n' "$TOOLS/wrk/wrk"
}

wasmtime
printf '%s\n' "$TOOLS/peer/bin/wasmtime"
wrk
