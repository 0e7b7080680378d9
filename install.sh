#!/bin/sh
# Installs coracle: the binary, its manual pages, and completions for bash, zsh and fish.
# Safe to repeat; --uninstall takes away what it put there and nothing else.
set -eu

usage() {
    cat <<'TEXT'
Usage: ./install.sh [--prefix DIR] [--binary FILE] [--uninstall]

  --prefix DIR    install below DIR (default: ~/.local)
  --binary FILE   install this binary; default: build one with cargo build --release
  --uninstall     remove what was installed below the prefix
TEXT
}

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
prefix=${HOME:+$HOME/.local}
binary=
uninstall=no

while [ $# -gt 0 ]; do
    case $1 in
        --prefix) [ $# -ge 2 ] || fail "--prefix needs a directory"; prefix=$2; shift ;;
        --prefix=*) prefix=${1#*=} ;;
        --binary) [ $# -ge 2 ] || fail "--binary needs a file"; binary=$2; shift ;;
        --binary=*) binary=${1#*=} ;;
        --uninstall) uninstall=yes ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "unknown argument: $1" ;;
    esac
    shift
done
[ -n "$prefix" ] || fail "HOME is not set: name a --prefix"

man_directory=$prefix/share/man/man1
bash_file=$prefix/share/bash-completion/completions/coracle
zsh_file=$prefix/share/zsh/site-functions/_coracle
fish_file=$prefix/share/fish/vendor_completions.d/coracle.fish

if [ "$uninstall" = yes ]; then
    removed=0
    for file in "$prefix/bin/coracle" "$man_directory"/coracle.1 "$man_directory"/coracle-*.1 \
        "$bash_file" "$zsh_file" "$fish_file"; do
        if [ -e "$file" ] || [ -L "$file" ]; then
            rm -f -- "$file"
            say "removed $file"
            removed=$((removed + 1))
        fi
    done
    [ "$removed" -gt 0 ] || say "nothing of coracle is below $prefix"
    say "images and containers stay in ${XDG_DATA_HOME:-~/.local/share}/coracle"
    exit 0
fi

if [ -z "$binary" ]; then
    command -v cargo >/dev/null 2>&1 || fail "cargo is not on PATH: install Rust, or give --binary FILE"
    say "building (cargo build --release)"
    (cd "$here" && cargo build --release)
    # The target directory has a folder named after the target that .cargo/config.toml chooses.
    target=${CARGO_TARGET_DIR:-$here/target}
    # shellcheck disable=SC2012 # the newest of two names that are known
    binary=$(ls -t "$target"/*/release/coracle "$target"/release/coracle 2>/dev/null | head -n 1)
    [ -n "$binary" ] || fail "the build left no binary"
fi
[ -f "$binary" ] || fail "no such file: $binary"
"$binary" version >/dev/null 2>&1 || fail "$binary does not run here"

# install_file MODE FROM TO: a new file takes the old one's place at once, so that a coracle that
# runs keeps its own.
install_file() {
    mkdir -p -- "$(dirname -- "$3")"
    cp -- "$2" "$3.new.$$"
    chmod "$1" "$3.new.$$"
    mv -f -- "$3.new.$$" "$3"
}

install_file 755 "$binary" "$prefix/bin/coracle"
say "installed $prefix/bin/coracle ($("$prefix/bin/coracle" version))"

rm -f -- "$man_directory"/coracle.1 "$man_directory"/coracle-*.1
pages=0
for page in "$here"/man/*.1; do
    install_file 644 "$page" "$man_directory/$(basename -- "$page")"
    pages=$((pages + 1))
done
say "installed $pages manual pages in $man_directory"

install_file 644 "$here/completions/coracle.bash" "$bash_file"
say "installed $bash_file"
install_file 644 "$here/completions/_coracle" "$zsh_file"
say "installed $zsh_file"
install_file 644 "$here/completions/coracle.fish" "$fish_file"
say "installed $fish_file"

case :${PATH:-}: in
    *":$prefix/bin:"*) ;;
    *) say "note: $prefix/bin is not on PATH; add it in your shell's profile" ;;
esac
case $prefix in
    /usr | /usr/local) ;;
    *) say "note: for zsh, add this to ~/.zshrc before compinit: fpath=($prefix/share/zsh/site-functions \$fpath)" ;;
esac
