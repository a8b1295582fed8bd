#!/bin/sh
# Gets the programs that tests, demo and bench run: Python's venv, nginx with its stream module, HAProxy, systemd, sudo,
# Chromium, Consul.
#
#   scripts/tools.sh [python] [nginx] [haproxy] [promtool] [systemd] [sudo] [chromium] [ip] [consul]  get what is missing; all of them by default
#   scripts/tools.sh which nginx|stream-module|haproxy|promtool|chromium|chromedriver|consul  print where it is; fail with a sentence if it is nowhere
#   scripts/tools.sh root SUITE ARCHIVE  pack a fresh Debian, as small as apt allows; root only
#
# Silent about what is already here, and safe to run again: nothing is ever left half installed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=$root/.cache
python=${PYTHON:-python3}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin   # where Debian keeps nginx, absent from an ordinary user's PATH

say() { printf 'tools: %s\n' "$*"; }
die() { printf 'tools: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# --- where things are ---------------------------------------------------------------------------------------------

which_nginx() { command -v nginx; }

# Prints the file to give to load_module, or an empty line when the module is built in.
which_stream_module() {
    built=$(nginx -V 2>&1) || return 1
    case "$built " in
        *"--with-stream "*) echo; return ;;
    esac
    module=$(printf '%s\n' "$built" | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')/ngx_stream_module.so
    [ -r "$module" ] && printf '%s\n' "$module"
}

# A consul on PATH wins over the one in the cache.
which_consul() {
    command -v consul && return
    [ -x "$cache/consul/usr/bin/consul" ] && printf '%s\n' "$cache/consul/usr/bin/consul"
}

# promtool reads what the examples write for Prometheus; of its package nothing else is needed.
which_promtool() {
    command -v promtool && return
    [ -x "$cache/prometheus/usr/bin/promtool" ] && printf '%s\n' "$cache/prometheus/usr/bin/promtool"
}

locate() {
    case "$1" in
        nginx) which_nginx ;;
        haproxy | chromium | chromedriver) command -v "$1" ;;
        stream-module) which_stream_module ;;
        promtool) which_promtool ;;
        consul) which_consul ;;
        *) die "$1: unknown program; known are nginx, stream-module, haproxy, promtool, chromium, chromedriver and consul" ;;
    esac || die "$1 is not here: run 'make tools'"
}

# --- packages -----------------------------------------------------------------------------------------------------

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
may_be_root() { [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }; }

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
        install --no-install-recommends "$@" >>"$log" 2>&1
}

# Keeps packages from starting their service during the installation; a policy of the machine's own stays.
hold_services() {
    policy=/usr/sbin/policy-rc.d
    [ ! -e "$policy" ] || return 0
    trap 'as_root rm -f "$policy"' EXIT
    trap 'exit 130' HUP INT TERM
    printf '#!/bin/sh\n# in place only while ctemplate installs its test tools\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

install_packages() {
    has apt-get || die "missing on a system without apt-get: $advice"
    may_be_root || die "missing, and neither root nor sudo without a password: as root, apt-get install $*"
    log=$cache/apt.log
    : >"$log"
    hold_services
    apt_install "$@" || { as_root apt-get -q update >>"$log" 2>&1 && apt_install "$@"; } ||
        { tail -n 15 "$log" >&2; die "apt-get could not install $* (all of its words: $log): $advice"; }
    say "installed $*"
}

# --- python -------------------------------------------------------------------------------------------------------

ensure_python() {
    usable='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
    advice="install Python 3.11 or newer with its venv module (PYTHON=... chooses another than python3)"
    has "$python" || install_packages python3 python3-venv
    "$python" -c "$usable" 2>/dev/null && return
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$("$python" --version) is too old: $advice"
    install_packages python3-venv
    "$python" -c "$usable" || die "$python has no venv module: $advice"
}

# --- nginx --------------------------------------------------------------------------------------------------------

ensure_nginx() {
    advice="install nginx with its stream module (ngx_stream_module)"
    has nginx || install_packages nginx libnginx-mod-stream
    which_stream_module >/dev/null || install_packages libnginx-mod-stream
    which_stream_module >/dev/null || die "$(which_nginx) has no stream module: $advice"
}

# --- haproxy ------------------------------------------------------------------------------------------------------

ensure_haproxy() {
    advice="install haproxy 2.4 or newer"
    has haproxy || install_packages haproxy
}

# --- chromium -----------------------------------------------------------------------------------------------------
# Shows the status page to the tests.

ensure_chromium() {
    advice="install chromium and chromium-driver"
    has chromium && has chromedriver || install_packages chromium chromium-driver fonts-dejavu-core
}

# --- systemd, sudo -------------------------------------------------------------------------------------------------
# systemd-analyze reads the unit that ships; sudo reloads nginx for a user without rights.

ensure_systemd() {
    advice="install systemd"
    has systemd-analyze || install_packages systemd
}

ensure_sudo() {
    advice="install sudo"
    has sudo || install_packages sudo
}

# --- ip -----------------------------------------------------------------------------------------------------------
# Only the tests that cut a network want it; where it is neither here nor to be had, they say so.

ensure_ip() {
    has ip || ! has apt-get || ! may_be_root || install_packages iproute2
}

# --- clean hosts --------------------------------------------------------------------------------------------------
# A Debian of its own in an archive, from the mirror that this machine has.

make_root() {
    suite=$1 archive=$2
    advice="install mmdebstrap"
    has mmdebstrap || (install_packages mmdebstrap)   # a subshell: its clean-up runs as it ends
    log=$cache/root-$suite.log
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    mirror=$(debian_mirrors | head -n 1)
    [ -n "$mirror" ] || die "none of the configured apt sources is Debian's: no fresh Debian can be made"
    mmdebstrap --quiet --mode=root --variant=minbase "$suite" "$archive.new.tar" "$mirror" >"$log" 2>&1 ||
        { rm -f "$archive.new.tar"; tail -n 5 "$log" >&2; die "$suite: mmdebstrap could not make it (all of its words: $log)"; }
    mv "$archive.new.tar" "$archive"
}

# --- consul -------------------------------------------------------------------------------------------------------
# Debian 11 (bullseye) was the last Debian with Consul; the program needs libc only and runs from any folder.

# apt-get with lists and archives of its own below $work: needs no root, leaves the system's as they are.
apt_private() {
    lists=$1
    shift
    mkdir -p "$work/$lists/partial" "$work/archives/partial"
    apt-get -q -o Dir::State::Lists="$work/$lists" -o Dir::Cache="$work" -o Dir::Cache::pkgcache= \
        -o Dir::Cache::srcpkgcache= -o Acquire::Languages=none "$@" 2>>"$log"
}

# apt-get on the machine's own sources; with private lists where the system has none yet.
apt_own() {
    if [ -n "$(apt-get indextargets 'Created-By: Packages' 2>/dev/null)" ]; then
        apt-get -q "$@" 2>>"$log"
    else
        [ -d "$work/own" ] || apt_private own update >>"$log" || true
        apt_private own "$@"
    fi
}

apt_bullseye() {
    apt_private bullseye -o Dir::Etc::SourceList="$work/bullseye.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Acquire::Check-Valid-Until=false "$@"
}

debian_mirrors() {
    # shellcheck disable=SC2016  # apt-get fills in the field's name
    apt_own indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | sort -u
}

download_from_own_suites() { (cd "$work" && apt_own download consul >>"$log"); }

download_from_bullseye() {
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r "$keyring" ] && signed=" signed-by=$keyring" || signed=
    debian_mirrors >"$work/mirrors"
    while read -r mirror; do
        echo "deb [arch=$(dpkg --print-architecture)$signed] $mirror bullseye main" >"$work/bullseye.list"
        (cd "$work" && apt_bullseye update >>"$log" && apt_bullseye download consul >>"$log") && return
    done <"$work/mirrors"
    return 1
}

unpack_consul() {
    staged=$(mktemp -d "$cache/consul.XXXXXX")
    dpkg -x "$work"/consul_*.deb "$staged"
    version=$("$staged/usr/bin/consul" version | sed -n 1p)
    [ -n "$version" ] || die "the consul that was fetched does not run here: $advice"
    chmod 755 "$staged"
    rm -rf "$cache/consul"
    mv -T "$staged" "$cache/consul"
    say "unpacked $version into .cache/consul"
}

ensure_consul() {
    which_consul >/dev/null && return
    advice="put the program consul (1.8 or newer) on PATH"
    has apt-get && has dpkg || die "missing on a system without apt-get: $advice"
    log=$cache/consul.log
    : >"$log"
    rm -rf "$cache"/consul.??????
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    chmod 755 "$work"   # apt's own unprivileged user reads the lists in it
    download_from_own_suites || download_from_bullseye ||
        { tail -n 5 "$log" >&2; die "none of the configured apt sources leads to a Consul package: $advice"; }
    unpack_consul
}

# --- promtool -----------------------------------------------------------------------------------------------------

download_prometheus() { (cd "$work" && apt_own download prometheus >>"$log"); }

ensure_promtool() {
    which_promtool >/dev/null && return
    advice="put the program promtool on PATH"
    has apt-get && has dpkg || die "missing on a system without apt-get: $advice"
    log=$cache/prometheus.log
    : >"$log"
    rm -rf "$cache"/prometheus.??????
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    chmod 755 "$work"   # apt's own unprivileged user reads the lists in it
    download_prometheus || { may_be_root && as_root apt-get -q update >>"$log" 2>&1 && download_prometheus; } ||
        { tail -n 5 "$log" >&2; die "none of the configured apt sources leads to a package of Prometheus: $advice"; }
    staged=$(mktemp -d "$cache/prometheus.XXXXXX")
    dpkg -x "$work"/prometheus_*.deb "$staged"
    "$staged/usr/bin/promtool" --version >>"$log" 2>&1 || die "the promtool that was fetched does not run here: $advice"
    chmod 755 "$staged"
    rm -rf "$cache/prometheus"
    mv -T "$staged" "$cache/prometheus"
    say "unpacked promtool into .cache/prometheus"
}

# ------------------------------------------------------------------------------------------------------------------

if [ "${1-}" = which ]; then
    locate "${2-}"
    exit
fi
mkdir -p "$cache"
if [ "${1-}" = root ]; then
    make_root "${2-}" "${3-}"
    exit
fi
[ $# -gt 0 ] || set -- python nginx haproxy promtool systemd sudo chromium ip consul
for tool in "$@"; do
    case "$tool" in
        python | nginx | haproxy | promtool | systemd | sudo | chromium | ip | consul) (ensure_"$tool") ;;   # a subshell each: its clean-up runs as it ends
        *) die "$tool: unknown tool; known are python, nginx, haproxy, promtool, systemd, sudo, chromium, ip and consul" ;;
    esac
done
