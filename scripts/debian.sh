# Sourced by the other scripts: what all of them begin with, and Debian packages without root and without touching the machine's own apt.
# A private apt reads the machine's mirror and keyring, but other suites too; packages are downloaded, never installed.
# shellcheck shell=bash

log() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { log "error: $*"; exit 1; }
tools() { # sets TOOLS, the folder that tools go into, and makes it
    TOOLS=${BERTH_TOOLS:-${BERTH_CACHE:-$HOME/.cache/berth}/tools}
    mkdir -p "$TOOLS"; TOOLS=$(cd "$TOOLS" && pwd)
}
alone() { exec 9>"$1"; flock 9; } # alone LOCK: waits until no other script holds it
scratch() { # scratch [DIR]: sets WORK, a scratch folder; one that isn't named goes at the end
    WORK=${1:-}
    if [ -z "$WORK" ]; then WORK=$(mktemp -d); trap 'rm -rf "$WORK"' EXIT; fi
    mkdir -p "$WORK"; WORK=$(cd "$WORK" && pwd)
}

# --- Debian packages; these need WORK

mirror() { # mirror main|security: the URI in the machine's own sources
    { { cat /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } | awk '/^URIs:/{u=$2} /^Suites:/{print u, $2}'
      { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        sed -E 's/\[[^]]*\]//' | awk '$1=="deb"{print $2, $3}'; } |
    awk -v w="$1" '{s = ($2 ~ /-security/) ? "security" : "main"} s==w && u=="" {u=$1} END{print u}'
}
apt_() { # apt_ SUITE apt-get|apt-cache ARG...
    local suite=$1 tool=$2 d=$WORK/apt/$1 uri; shift 2; mkdir -p "$d/lists/partial" "$d/cache/archives/partial"
    case $suite in *-security) uri=$(mirror security);; *) uri=$(mirror main);; esac
    [ -n "$uri" ] || die "no Debian source in /etc/apt to derive a mirror from"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
        "$uri" "$suite" >"$d/x.sources"
    "$tool" -o Dir::Etc::sourcelist="$d/x.sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State::lists="$d/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$d/cache" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}
fetch_deb() { # fetch_deb DIR "SUITE..." VERSION-REGEX PACKAGE...: newest match in the first suite that has one
    local dir=$1 suites=$2 re=$3 s p v; shift 3; mkdir -p "$dir"
    for s in $suites; do
        if [ ! -e "$WORK/apt/$s/ok" ]; then
            apt_ "$s" apt-get update >"$WORK/apt-$s.log" 2>&1 && : >"$WORK/apt/$s/ok" || { log "suite $s: not to be had"; continue; }
        fi
        for p in "$@"; do
            v=$(apt_ "$s" apt-cache madison "$p" 2>/dev/null | awk -F'|' '{gsub(/ /,"",$2); print $2}' | grep -E "$re" | head -1) || true
            [ -n "$v" ] || continue
            (cd "$dir" && apt_ "$s" apt-get -q download "$p=$v" >"$WORK/download.log" 2>&1) || continue
            log "from $s: $p $v"; return 0
        done
    done
    return 1
}
