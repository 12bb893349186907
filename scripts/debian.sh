# shellcheck shell=bash
# Debian's archive, as the scripts that make a root of its packages see it. Sourced, after lib.sh, never run.
#
# Packages come from the mirror this machine's own apt uses (FORELIFT_MIRROR overrides it), from the one suite
# named below. A mirror caught half-way through an update has a Release file that does not fit its package
# lists; apt refuses it. The suite is then asked for by its other name, `stable`, which may be whole; the
# signed Release file must still say that it is the suite named below.

readonly SUITE=trixie COMPONENT=main
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror of this machine's own release, as apt understands its sources, whichever file and format they are
# in.
mirror() {
    local release uri
    if [ -n "${FORELIFT_MIRROR:-}" ]; then
        echo "$FORELIFT_MIRROR"
        return
    fi
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016  # the names are apt's own, not the shell's
    uri=$(apt-get indextargets --no-release-info --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' \
        'Created-By: Packages' | awk -v r="$release" '$1 == r && $2 == "main" { print $3; exit }')
    [ -n "$uri" ] || die "no apt source for '$release main' on this machine: name a Debian mirror in FORELIFT_MIRROR"
    printf '%s\n' "${uri%/}"
}

# apt's own view of one suite of another architecture, apart from the machine's.
# private_apt DIR ARCH: make it in DIR, with DIR/apt.conf for APT_CONFIG, and fetch the package lists.
private_apt() {
    local dir=$1 arch=$2 mirror
    [ -r "$KEYRING" ] || die "no $KEYRING: install debian-archive-keyring"
    mirror=$(mirror)
    private_lists "$dir" "$arch" "$mirror" "$SUITE" || {
        log "the mirror's $SUITE is not whole (see apt's message above): trying its other name, stable"
        rm -rf "$dir"
        private_lists "$dir" "$arch" "$mirror" stable
    } || die "cannot read the package lists of $SUITE from $mirror: see apt's messages above;" \
        "try again later, or name another mirror in FORELIFT_MIRROR"
    grep -q "^Codename: $SUITE\$" "$dir"/lists/*_InRelease ||
        die "suite 'stable' of $mirror is not $SUITE any more: try again later, or name another mirror in FORELIFT_MIRROR"
}

# private_lists DIR ARCH MIRROR SUITE: write the configuration and fetch the lists; fails when apt does.
private_lists() {
    local dir=$1 arch=$2 mirror=$3 asked=$4
    mkdir -p "$dir"/{lists/partial,cache/archives/partial,preferences.d,parts}
    : >"$dir/status"
    printf 'deb [signed-by=%s] %s %s %s\n' "$KEYRING" "$mirror" "$asked" "$COMPONENT" >"$dir/sources.list"
    {
        # Proxies and certificates are the machine's.
        apt-config dump --format '%F "%v";%n' Acquire
        printf '%s "%s";\n' APT::Architecture "$arch" Dir::State "$dir" Dir::State::status "$dir/status" \
            Dir::State::lists "$dir/lists" Dir::Cache "$dir/cache" Dir::Etc::sourcelist "$dir/sources.list" \
            Dir::Etc::sourceparts "$dir/parts" Dir::Etc::preferencesparts "$dir/preferences.d" \
            Acquire::Languages none Acquire::IndexTargets::deb::DEP-11::DefaultEnabled false APT::Sandbox::User root
        printf '#clear APT::Architectures;\nAPT::Architectures { "%s"; };\n' "$arch"
    } >"$dir/apt.conf"
    APT_CONFIG=$dir/apt.conf apt-get -q update >&2
}

# archive_date DIR: when the archive whose lists are in DIR was last changed; no packaged file is newer. (A
# fixed date would not do: files newer than it would be set back in the tar, and python would find its
# compiled modules stale at every start.)
archive_date() {
    local date
    date=$(sed -n 's/^Date: //p' "$1"/lists/*_InRelease | head -n 1)
    date -u -d "$date" +%s
}
