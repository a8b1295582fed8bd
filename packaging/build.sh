#!/bin/sh
# Builds what hosts install: packages of Debian, and one file that runs by itself. Both hold the locked versions.
#
#   packaging/build.sh deb [SUITE…]   dist/ctemplate_VERSION~SUITE_ARCHITECTURE.deb; bookworm and trixie by default
#   packaging/build.sh zipapp         dist/ctemplate-VERSION.pyz, for all the Pythons below
#   packaging/build.sh pages FOLDER   man pages and completions for bash, zsh and fish, from the program's own options
#
# The same sources and tools give the same bytes: times are those of SOURCE_DATE_EPOCH, by default of the last commit.
set -eu
umask 022
cd "$(dirname "$0")/.."

bin=${BIN:-.venv/bin}
work=${WORK:-build/packages}
dist=${DIST:-dist}
zipapp_pythons="3.11 3.12 3.13 3.14"
maintainer=${MAINTAINER:-"The ctemplate authors <ctemplate@localhost>"}

die() { printf 'build: %s\n' "$*" >&2; exit 1; }

if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)
fi
export SOURCE_DATE_EPOCH

python_of() {
    case "$1" in
        bookworm) echo 3.11 ;;
        trixie) echo 3.13 ;;
        *) die "$1: unknown suite; known are bookworm and trixie" ;;
    esac
}

release_of() { case "$1" in bookworm) echo 12 ;; *) echo 13 ;; esac; }

version() { sed -n 's/^__version__ = "\(.*\)"$/\1/p' ctemplate/__init__.py; }

# Prints the machine's name as wheels spell it.
machine() {
    case "$(dpkg --print-architecture 2>/dev/null || uname -m)" in
        amd64 | x86_64) echo x86_64 ;;
        arm64 | aarch64) echo aarch64 ;;
        *) die "no wheels are known for this machine" ;;
    esac
}

# Puts ctemplate and all that it imports into FOLDER, for a PYTHON that need not be here.
install_for() {
    python=$1 folder=$2 machine=$(machine)
    "$bin/pip" install --quiet --no-compile --no-deps --only-binary :all: --require-hashes \
        --python-version "$python" --implementation cp \
        --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
        --target "$folder" -r packaging/requirements.txt
    "$bin/pip" install --quiet --no-compile --no-deps --no-index --target "$folder" --upgrade "$(our_wheel)"
    rm -f "$folder"/ctemplate-*.dist-info/direct_url.json  # it names the folder of this build
    sed -i '/direct_url\.json/d' "$folder"/ctemplate-*.dist-info/RECORD
    rm -rf "$folder/bin"
}

our_wheel() {
    mkdir -p "$work"
    [ -n "$(find "$work" -maxdepth 1 -name '*.whl' -newer "$work/.begun")" ] ||
        "$bin/python" -m hatchling build -t wheel -d "$work" >/dev/null 2>&1 || die "hatchling could not build the wheel"
    find "$work" -maxdepth 1 -name "ctemplate-$(version)-*.whl"
}

# --- man pages and completions -------------------------------------------------------------------------------------

pages() {
    mkdir -p "$1"
    "$bin/python" packaging/man_pages.py "$1"
    for shell in bash zsh fish; do
        _CTEMPLATE_COMPLETE=${shell}_source "$bin/ctemplate" >"$1/ctemplate.$shell"
    done
}

# --- Debian's package ----------------------------------------------------------------------------------------------

deb() {
    suite=$1 python=$(python_of "$1") root=$work/$1
    rm -rf "$root"
    home=$root/usr/lib/ctemplate
    mkdir -p "$home/bin" "$root/usr/bin" "$root/DEBIAN"
    install_for "$python" "$home/lib/python$python/site-packages"
    printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$python" >"$home/pyvenv.cfg"
    ln -s "/usr/bin/python$python" "$home/bin/python"
    install -m 755 packaging/debian/ctemplate "$home/bin/ctemplate"
    ln -s ../lib/ctemplate/bin/ctemplate "$root/usr/bin/ctemplate"
    install -D -m 644 packaging/ctemplate.service "$root/usr/lib/systemd/system/ctemplate.service"
    install -D -m 644 packaging/ctemplate.toml.example "$root/etc/ctemplate/ctemplate.toml.example"
    documents "$root"
    control "$suite" "$python" "$root"
    rm -f "$dist"/ctemplate_*~deb"$(release_of "$suite")"_*.deb
    mkdir -p "$dist"
    name=$dist/ctemplate_$(version)-1~deb$(release_of "$suite")_$(dpkg --print-architecture).deb
    dpkg-deb --root-owner-group -Zxz --build "$root" "$name" >/dev/null
    echo "$name"
}

documents() {
    root=$1 doc=$1/usr/share/doc/ctemplate
    pages "$work/pages"
    for page in "$work"/pages/*.1; do
        install -D -m 644 "$page" "$root/usr/share/man/man1/${page##*/}"
    done
    gzip -9n "$root"/usr/share/man/man1/*.1
    install -D -m 644 "$work/pages/ctemplate.bash" "$root/usr/share/bash-completion/completions/ctemplate"
    install -D -m 644 "$work/pages/ctemplate.zsh" "$root/usr/share/zsh/vendor-completions/_ctemplate"
    install -D -m 644 "$work/pages/ctemplate.fish" "$root/usr/share/fish/vendor_completions.d/ctemplate.fish"
    install -D -m 644 packaging/debian/copyright "$doc/copyright"
    install -m 644 README.md SECURITY.md "$doc/"
    cp -r docs "$doc/docs" && rm -rf "$doc/docs/pictures"
    cp -r examples/monitoring examples/formats templates "$doc/"
    chmod -R u=rwX,go=rX "$doc"
    changelog >"$doc/changelog.Debian"
    install -m 644 CHANGELOG.md "$doc/changelog"
    gzip -9n "$doc/changelog.Debian" "$doc/changelog"
}

changelog() {
    printf 'ctemplate (%s-1~deb%s) %s; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
        "$(version)" "$(release_of "$suite")" "$suite" "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

control() {
    suite=$1 python=$2 root=$3
    size=$(du -k -s --apparent-size --exclude DEBIAN "$root" | cut -f1)
    sed -e "s/@VERSION@/$(version)-1~deb$(release_of "$suite")/" -e "s/@ARCHITECTURE@/$(dpkg --print-architecture)/" \
        -e "s/@MAINTAINER@/$maintainer/" -e "s/@SIZE@/$size/" -e "s/@PYTHON@/$python/" \
        -e "s/@NEXT@/3.$((${python#3.} + 1))/" packaging/debian/control >"$root/DEBIAN/control"
    echo /etc/ctemplate/ctemplate.toml.example >"$root/DEBIAN/conffiles"
    for script in postinst prerm postrm; do
        install -m 755 "packaging/debian/$script" "$root/DEBIAN/$script"
    done
    (cd "$root" && find usr etc -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
}

# --- one file ------------------------------------------------------------------------------------------------------
# Modules in C cannot be imported from an archive, so shiv's start unpacks it once. Each Python's have names of their own,
# and everything else is the same for all of them, so one tree serves all.

zipapp() {
    tree=$work/zipapp
    rm -rf "$tree"
    for python in $zipapp_pythons; do
        install_for "$python" "$work/zipapp-$python"
        cp -r "$work/zipapp-$python/." "$tree"
        rm -rf "$work/zipapp-$python"
    done
    mkdir -p "$dist"
    "$bin/shiv" --reproducible --compressed --python '/usr/bin/env python3' --console-script ctemplate \
        --site-packages "$tree" --output-file "$dist/ctemplate-$(version).pyz" 2>/dev/null
    echo "$dist/ctemplate-$(version).pyz"
}

# ------------------------------------------------------------------------------------------------------------------

mkdir -p "$work"
touch "$work/.begun"
what=${1-}
[ $# -eq 0 ] || shift
case "$what" in
    deb)
        [ $# -gt 0 ] || set -- bookworm trixie
        for suite in "$@"; do deb "$suite"; done ;;
    zipapp) zipapp ;;
    pages) [ $# -eq 1 ] || die "pages: give a folder"; pages "$1" ;;
    *) die "give deb, zipapp or pages" ;;
esac
