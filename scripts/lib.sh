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

# npm_ci: what package-lock.json of the current directory names, once; holds .lock there.
npm_ci() {
    lock .lock
    if [ ! -e node_modules ] || [ package-lock.json -nt node_modules ]; then
        npm ci --no-audit --no-fund --silent >&2 || die "npm ci failed in $PWD: see its message above"
        touch node_modules
    fi
}

# Parts that run in parallel. `begin` starts one, `finish` waits for some of them, `result` is what one
# wrote to stdout. What a part says on stderr gets its name in front of each line, and every few seconds a
# line says what is still running. When a part fails, the script ends with it, and stops the others.
declare -A part_pid=()
readonly TICK_SECONDS=10

# begin NAME COMMAND...
begin() {
    local name=$1
    shift
    if [ -z "${parts_dir:-}" ]; then
        parts_dir=$(mktemp -d)
        trap stop_parts EXIT
        trap 'exit 1' HUP INT TERM
        # Only the outermost script says it.
        if [ -z "${FORELIFT_TICKING:-}" ]; then
            export FORELIFT_TICKING=yes
            tick &
            ticker=$!
        fi
    fi
    # Job control gives each part a process group, which can be stopped as a whole.
    set -m
    (
        trap - EXIT HUP INT TERM
        { timed "$@" 2>&1 >&3 3>&- | sed -u "s/^/$name | /" >&2; } 3>"$parts_dir/$name.out"
    ) </dev/null &
    part_pid[$name]=$!
    set +m
    : >"$parts_dir/$name.running"
}

# timed COMMAND...: and say how long it took, if it succeeds; else errexit ends the part.
timed() {
    local began=$SECONDS
    "$@"
    echo "done in $((SECONDS - began)) s" >&2
}

# finish NAME...: wait until these parts are done.
finish() {
    local name ended other status
    for name; do
        while [ -n "${part_pid[$name]:-}" ]; do
            status=0
            wait -n -p ended "${part_pid[@]}" || status=$?
            for other in "${!part_pid[@]}"; do
                [ "${part_pid[$other]}" = "$ended" ] || continue
                unset "part_pid[$other]"
                rm -f "$parts_dir/$other.running"
                [ "$status" = 0 ] || die "'$other' failed: see its lines above"
            done
        done
    done
}

# result NAME: what a finished part wrote to stdout.
result() { cat "$parts_dir/$1.out"; }

# pause SECONDS: without a process of its own, which would outlive a killed loop and keep its output open.
pause() {
    local none
    # shellcheck disable=SC2034  # nothing is ever read: the pipe's other end is its own
    read -r -t "$1" none <> <(:) || true
}

# tick: say what is running, until killed.
tick() {
    local file names
    while pause "$TICK_SECONDS"; do
        names=
        for file in "$parts_dir"/*.running; do
            [ ! -e "$file" ] || names+="${names:+, }$(basename "$file" .running)"
        done
        [ -z "$names" ] || log "$((SECONDS / 60)) min $((SECONDS % 60)) s; running: $names"
    done
}

# stop_parts: at a script's end, what still runs.
stop_parts() {
    local pid
    [ -n "${parts_dir:-}" ] || return 0
    for pid in "${part_pid[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    [ -z "${ticker:-}" ] || kill "$ticker" 2>/dev/null || true
    wait
    rm -rf "$parts_dir"
}
