# What the scripts beside this file share; sourced, never run.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=$ROOT/.tools
REQUIREMENTS=$ROOT/requirements
cd "$ROOT" || exit

# Home Assistant takes seconds to load without byte code; where the machine forbids it, not in here.
unset PYTHONDONTWRITEBYTECODE

# heading TEXT: bold where somebody sees it and wants it (https://no-color.org).
heading() {
    if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\n\033[1m== %s\033[0m\n' "$1"; else printf '\n== %s\n' "$1"; fi
}
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# The comment block at the top of a script is its --help.
help_if_asked() {
    case ${1:-} in
        -h | --help) sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p;}' "$ROOT/script/${0##*/}" && exit 0 ;;
    esac
}

# A mirror that pip is configured with serves uv too; without one, both use PyPI.
use_pips_index() {
    [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}
    [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${UV_CONFIG_FILE:-}" ] || return 0
    local url=${PIP_INDEX_URL:-}
    [ -n "$url" ] || url=$(some_python -m pip config get global.index-url 2>/dev/null) || return 0
    [ -z "$url" ] || export UV_DEFAULT_INDEX=$url
}

# Any Python 3.11+ to make a first environment with.
some_python() {
    local candidate
    for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" "$@"
            return
        fi
    done
    return 127
}

# Sets UV: the one on PATH if it is not too old, else the pinned one, installed under .tools.
find_uv() {
    local found
    for found in uv "$TOOLS/uv/bin/uv"; do
        if "$found" --version 2>/dev/null | awk '{ split($2, v, ".") } END { exit !(v[1] > 0 || v[2] >= 8) }'; then
            UV=$(command -v "$found")
            break
        fi
    done
    if [ -z "${UV:-}" ]; then
        say "installing uv into .tools"
        install_tools "$TOOLS/uv"
        UV=$TOOLS/uv/bin/uv
        "$UV" --version >/dev/null || die "uv was installed into .tools but does not run."
    fi
    export UV
    use_pips_index
}

# The pinned tools, with nothing but a Python that has pip or venv. Into a folder of the project, so that
# pip's warning to root says nothing here.
export PIP_ROOT_USER_ACTION=ignore
install_tools() {
    local target=$1
    some_python -c '' || die "no Python 3.11 or newer was found; install one and run this again."
    mkdir -p "$TOOLS"
    if some_python -m pip --version >/dev/null 2>&1; then
        some_python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --require-hashes \
            --target "$target" --requirement "$REQUIREMENTS/tools.txt"
    else
        some_python -m venv "$TOOLS/bootstrap" \
            || die "this Python has neither pip nor venv; on Debian install the package python3-venv."
        "$TOOLS/bootstrap/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
            --require-hashes --target "$target" --requirement "$REQUIREMENTS/tools.txt"
        rm -rf "$TOOLS/bootstrap"
    fi
}
