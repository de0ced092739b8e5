# The base of the image, made of Debian's packages. Sourced after lib.sh, never run.
# shellcheck shell=bash
IMAGES=$TOOLS/images

install_packages() {
    say "installing $*"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@"; } \
        >/dev/null 2>&1 || die "install these packages of Debian first: $*"
}

# make_base PLATFORM: sets BASE, an archive like Debian's slim images: of the documentation nothing but the
# licences, no translations.
make_base() {
    BASE=$IMAGES/base-$1.tar
    [ ! -e "$BASE" ] || return 0
    mkdir -p "$IMAGES"
    say "making the base for $1 of Debian's packages"
    mmdebstrap --quiet --format=tar --variant=minbase --architectures="$1" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        trixie "$BASE.part"
    mv "$BASE.part" "$BASE"
}

# find_way: sets WAY_CONF and WAY_PEM, files that give a pip within an image this machine's way to PyPI; or leaves
# them empty.
find_way() {
    local certificates=${PIP_CERT:-${SSL_CERT_FILE:-}}
    WAY_CONF='' WAY_PEM=''
    [ -n "$certificates" ] || [ -n "${PIP_INDEX_URL:-}" ] || return 0
    mkdir -p "$IMAGES"
    WAY_CONF=$IMAGES/pip.conf
    printf '[global]\n' >"$WAY_CONF"
    [ -z "${PIP_INDEX_URL:-}" ] || printf 'index-url = %s\n' "$PIP_INDEX_URL" >>"$WAY_CONF"
    [ -z "$certificates" ] || printf 'cert = /etc/pip.pem\n' >>"$WAY_CONF"
    # shellcheck disable=SC2034 # for whoever sources this
    [ -z "$certificates" ] || WAY_PEM=$(realpath "$certificates")
}
