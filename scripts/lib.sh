# shellcheck shell=bash
# What the scripts here share: messages, the cache outside the checkout, and building into it atomically.
# Sourced, never run. Standard output belongs to a script's result alone, so every message goes to stderr.

log() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    log "error: $*"
    exit 1
}

# cache_dir KIND: the directory for cached results of one kind, made if missing.
cache_dir() {
    local dir=${FORELIFT_CACHE:-$HOME/.cache/forelift}/$1
    mkdir -p "$dir" || die "cannot make the cache directory $dir: set FORELIFT_CACHE to a directory that can be written"
    printf '%s\n' "$dir"
}

# need PACKAGES-HINT COMMAND...: fail when a command is missing, naming the way to get it.
need() {
    local hint=$1 cmd
    shift
    for cmd; do
        command -v "$cmd" >/dev/null || die "$cmd is not installed: run '$hint'"
    done
}

# lock FILE: hold FILE for the rest of this process, so that two builds of one result do not both do the work.
lock() {
    exec 9>"$1"
    flock -n 9 && return
    log "waiting for another build to release $1"
    flock 9
}
