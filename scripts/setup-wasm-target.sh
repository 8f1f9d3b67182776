#!/usr/bin/env bash
# setup-wasm-target.sh [TARGET...]        (default: wasm32-wasip2)
#
# Installs the standard library of Rust's TARGETs into the toolchain that rust-toolchain.toml names: about 100 MB,
# a minute on two cores where it has to be compiled, seconds where rustup can download it, 0.2 s when it is there.
#
# Makes Rust's TARGETs usable on a machine that reaches package registries only
# (crates.io through cargo, Debian's archive through apt). Prints, alone on
# stdout, the name of the toolchain to build guests with:
#
#     tc=$(setup-wasm-target.sh wasm32-wasip2)
#     cargo "+$tc" build --target wasm32-wasip2
#
# It tries, in order:
#   1. nothing, if the target already links a program;
#   2. `rustup target add`, which is enough wherever rustup can download;
#   3. building the standard library for the machine's own rustc: the source of
#      exactly that version from Debian's arch-independent rust-src package, the C
#      library from Debian's wasi-libc package (both only unpacked), compiled once
#      as rust's own bootstrap does (profile "dist" of library/sysroot), put where
#      rustc looks: <sysroot>/lib/rustlib/TARGET/lib. Plain `cargo build --target`
#      works from then on, as after `rustup target add`;
#   4. if no Debian suite has that version's source: the same with Debian's own
#      rustc of this release (rustc-web and rust-web-src, one source package, hence
#      always of one version), unpacked into WASM_RUST_HOME and linked into rustup
#      as the toolchain "wasm-guest".
#
# Idempotent, safe to run concurrently; writes nothing under /etc, /var or /usr.
# Environment:
#   RUST_TOOLCHAIN      rustup toolchain (default: the one active in this repository)
#   WASM_SYSROOT        install into this sysroot instead of that toolchain's
#   WASM_RUST_HOME      for step 4 (default: ~/.local/share/wasm-guest-rust)
#   WASM_SETUP_WORK     scratch folder (default: a temporary one)
#   WASM_SETUP_SUITES   Debian suites to search for the Rust source, in order
#   WASM_LIBC_SUITES    the same for wasi-libc; before 2026-04 its fcntl(F_SETFL)
#                       fails on sockets, so that tokio's accept() does
#   WASM_SETUP_STEPS    which of the steps 1-4 to try (default "1 2 3 4")
set -euo pipefail

TARGETS=("$@"); [ ${#TARGETS[@]} -gt 0 ] || TARGETS=(wasm32-wasip2)
STEPS=" ${WASM_SETUP_STEPS:-1 2 3 4} "
RUST_HOME=${WASM_RUST_HOME:-$HOME/.local/share/wasm-guest-rust}
SUITES=${WASM_SETUP_SUITES:-trixie-backports bookworm-security trixie-security forky experimental}
LIBC_SUITES=${WASM_LIBC_SUITES:-forky sid trixie-backports}
step() { case $STEPS in *" $1 "*) return 0;; esac; return 1; }

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"   # log, die, alone, scratch, apt_, fetch_deb
scratch "${WASM_SETUP_WORK:-}"; alone "${TMPDIR:-/tmp}/setup-wasm-target.lock"

command -v rustc >/dev/null || die "no rustc: install Rust with rustup first"
cd "$(dirname "${BASH_SOURCE[0]}")/.."   # where rust-toolchain.toml chooses the toolchain
SYSROOT=${WASM_SYSROOT:-$(rustc ${RUST_TOOLCHAIN:+"+$RUST_TOOLCHAIN"} --print sysroot)}
NAME=${RUST_TOOLCHAIN:-$(basename "$SYSROOT")}
CARGO=$SYSROOT/bin/cargo; RUSTC=$SYSROOT/bin/rustc
[ -x "$RUSTC" ] && [ -x "$CARGO" ] || die "no rustc and cargo in $SYSROOT/bin"
HOST=$("$RUSTC" -vV | sed -n 's/^host: //p')

works() { # works RUSTC TARGET: does a program for the target compile and link?
    local d; d=$(mktemp -d "$WORK/probe.XXXXXX")
    printf 'fn main() { println!("{:?}", std::env::args()); }\n' >"$d/p.rs"
    "$1" --target "$2" -O -o "$d/p.wasm" "$d/p.rs" >"$d/log" 2>&1 && [ -s "$d/p.wasm" ]
}

# --- the standard library's source, and the C library, for one rustc
get_src() { # get_src VERSION -> $SRC
    SRC=$WORK/src-$1; rm -rf "$SRC" "$WORK/deb-src"; mkdir -p "$SRC"
    fetch_deb "$WORK/deb-src" "$SUITES" "^${1//./\\.}\+" rust-src rust-web-src || return 1
    dpkg-deb --fsys-tarfile "$WORK"/deb-src/*.deb | tar -x -C "$SRC" --wildcards --strip-components=5 './usr/src/*/library/*'
    [ -f "$SRC/sysroot/Cargo.toml" ] || die "rust-src has no library/sysroot"
}
wasi_dir() { # the C library's folder for a target; p3 takes p2's, as rust's bootstrap does
    local l=$WORK/wasi/usr/lib d
    if [ ! -d "$l" ]; then
        fetch_deb "$WORK/deb-wasi" "$LIBC_SUITES" '^0\.0~git202[6-9]|^[1-9]' wasi-libc || die "no recent wasi-libc"
        dpkg-deb -x "$WORK"/deb-wasi/*.deb "$WORK/wasi"
    fi
    case $1 in
        *-wasip3) set -- "$l/wasm32-wasip3" "$l/wasm32-wasip2";;
        *-wasip1) set -- "$l/wasm32-wasip1" "$l/wasm32-wasi";;
        *) set -- "$l/$1";;
    esac
    for d; do [ -f "$d/libc.a" ] && { echo "$d"; return 0; }; done
    die "wasi-libc has no libraries for $1"
}

build_std() { # build_std RUSTC TARGET RUSTLIB: compile the source in $SRC, install into RUSTLIB/TARGET
    local rustc=$1 t=$2 rustlib=$3 wasi="" start=$SECONDS tmp commit flags
    commit=$("$rustc" -vV | sed -n 's/^commit-hash: //p')
    flags="-Zforce-unstable-if-unmarked --remap-path-prefix=$SRC=/rustc/$commit/library"
    flags+=" --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/rust/deps"
    case $t in *-wasi*) wasi=$(wasi_dir "$t"); flags+=" -Lnative=$wasi";; esac
    std() {
        env -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET -u RUSTC_WRAPPER -u RUSTC_WORKSPACE_WRAPPER \
            RUSTC_BOOTSTRAP=1 RUSTC="$rustc" RUSTFLAGS="$flags" __CARGO_DEFAULT_LIB_METADATA=stablestd \
            CARGO_TARGET_DIR="$SRC-target" CARGO_INCREMENTAL=0 \
            "$CARGO" build "$@" --profile dist --target "$t" \
            --manifest-path "$SRC/sysroot/Cargo.toml" --features "panic-unwind backtrace"
    }
    # run in the source's folder, so that no .cargo/config.toml of the caller's applies
    (cd "$SRC" && { std --locked || std; }) >"$WORK/build-$t.log" 2>&1 ||
        { tail -30 "$WORK/build-$t.log" >&2; die "building the standard library for $t failed"; }
    tmp=$rustlib/.$t.$$; rm -rf "$tmp"; mkdir -p "$tmp/lib"
    cp "$SRC-target/$t/dist/deps/"*.rlib "$tmp/lib/"; rm -f "$tmp"/lib/libsysroot*.rlib
    if [ -n "$wasi" ]; then
        mkdir "$tmp/lib/self-contained"
        cp "$wasi"/{libc.a,crt1-command.o,crt1-reactor.o} "$tmp/lib/self-contained/"
    fi
    rm -rf "${rustlib:?}/$t"; mv "$tmp" "$rustlib/$t"
    works "$rustc" "$t" || die "$t: built, but a program does not link"
    log "$t: built in $((SECONDS - start)) s, $(du -sh "$rustlib/$t" | cut -f1) in $rustlib/$t"
}

left=("${TARGETS[@]}")
for t in "${left[@]}"; do "$RUSTC" --print target-list | grep -qx "$t" || die "$NAME's rustc knows no target $t"; done
retain() { local t keep=(); for t in "${left[@]}"; do "$@" "$t" || keep+=("$t"); done; left=("${keep[@]}"); [ ${#left[@]} -eq 0 ] && { echo "$NAME"; exit 0; }; return 0; }

step 1 && retain works "$RUSTC"

try_rustup() {
    RUSTUP_MAX_RETRIES=0 timeout 180 rustup target add --toolchain "$NAME" "$1" >"$WORK/rustup.log" 2>&1 &&
        works "$RUSTC" "$1" && log "$1: added by rustup"
}
if step 2 && [ -z "${WASM_SYSROOT:-}" ] && command -v rustup >/dev/null; then retain try_rustup; fi

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "rustup could not add ${left[*]} and there is no apt to take the source from; check the network and try again"
log "installing the standard library for ${left[*]} into toolchain $NAME: about 100 MB, a minute on two cores"

if step 3; then
    v=$("$RUSTC" -vV | sed -n 's/^release: //p')
    if get_src "$v"; then
        for t in "${left[@]}"; do build_std "$RUSTC" "$t" "$SYSROOT/lib/rustlib"; done
        echo "$NAME"; exit 0
    fi
    log "no suite of ($SUITES) has rust-src $v"
fi

if step 4; then
    NAME=wasm-guest; RUSTC=$RUST_HOME/bin/rustc; SUITES="bookworm-security $SUITES"; left=("${TARGETS[@]}")
    if [ -x "$RUSTC" ] && step 1; then
        rustup toolchain link wasm-guest "$RUST_HOME" >&2; retain works "$RUSTC"
    fi
    if [ ! -x "$RUSTC" ]; then
        rm -rf "$RUST_HOME" "$WORK/web"; mkdir -p "$RUST_HOME/bin"
        fetch_deb "$WORK/web" "$SUITES" '^1\.' rustc-web || die "no rustc-web"
        v=$(dpkg-deb -f "$WORK"/web/rustc-web_*.deb Version); re="^${v//+/\\+}\$"
        std=libstd-rust-web-$(echo "$v" | cut -d. -f1,2)
        for p in libstd-rust-web-dev "$std"; do fetch_deb "$WORK/web" "$SUITES" "$re" "$p" || die "no $p $v"; done
        llvm=$(dpkg-deb -f "$WORK/web/$std"_*.deb Depends | grep -o 'libllvm[0-9]*')
        fetch_deb "$WORK/web" "$SUITES" . "$llvm" || die "no $llvm"
        for d in "$WORK"/web/*.deb; do dpkg-deb -x "$d" "$RUST_HOME"; done
        # the linkers (rust-lld, wasm-component-ld) are the machine's toolchain's
        ln -s "$SYSROOT/lib/rustlib/$HOST/bin" "$RUST_HOME/usr/lib/rustlib/$HOST/bin"
        ln -s usr/lib "$RUST_HOME/lib"; ln -s "$CARGO" "$RUST_HOME/bin/cargo"
        for b in rustc rustdoc; do
            printf '#!/bin/sh\nLD_LIBRARY_PATH=%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} exec %s "$@"\n' \
                "$RUST_HOME/usr/lib/x86_64-linux-gnu" "$RUST_HOME/usr/bin/$b" >"$RUST_HOME/bin/$b"
            chmod +x "$RUST_HOME/bin/$b"
        done
    fi
    v=$("$RUSTC" -vV | sed -n 's/^release: //p')
    get_src "$v" || die "no source of rustc $v"
    for t in "${left[@]}"; do build_std "$RUSTC" "$t" "$RUST_HOME/usr/lib/rustlib"; done
    rustup toolchain link wasm-guest "$RUST_HOME" >&2
    echo wasm-guest; exit 0
fi
die "not done: ${left[*]}"
