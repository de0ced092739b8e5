# One image for Docker, compose and the Home Assistant app, for amd64 and arm64:
#
#   docker build --target server --tag wyoming-flux .    the server
#   docker build --tag wyoming-flux-app .                the app: its last stage, as the Supervisor builds it
#
# EAR=1 adds the ear on this machine (the extra `local`). script/image builds it without Docker.
ARG EAR=0

FROM docker.io/library/debian:trixie-slim AS build
ARG EAR
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv
# The folder may hold a wheel (the local app of script/release); else it is built from what is here.
# What is taken away again is never imported: tests, and what serves only to compile against numpy.
RUN --mount=type=bind,target=/src set -eu; \
    python3 -m venv /build; \
    python3 -m venv --without-pip /opt/wyoming-flux; \
    install() { /build/bin/pip --python /opt/wyoming-flux/bin/python install --no-cache-dir --no-compile --no-deps "$@"; }; \
    set=image; [ "$EAR" = 0 ] || set=image-ear; \
    install --require-hashes --only-binary :all: --requirement "/src/requirements/$set.txt"; \
    wheel=$(find /src -maxdepth 1 -name 'wyoming_flux-*.whl'); \
    if [ -z "$wheel" ]; then \
        /build/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement /src/requirements/build.txt; \
        (cd /src && /build/bin/python -m hatchling build --target wheel --directory /tmp/wheel); \
        wheel=$(find /tmp/wheel -name '*.whl'); \
    fi; \
    install "$wheel"; \
    cd /opt/wyoming-flux/lib/python3*/site-packages; \
    find . -type d -name tests -prune -exec rm -rf {} +; \
    find . \( -name '*.pyi' -o -name '*.a' -o -name '*.pxd' -o -name '*.h' -o -name '*.c' \) -delete; \
    rm -rf numpy/f2py numpy/_pyinstaller; \
    /opt/wyoming-flux/bin/python -m compileall -q -j 0 .
# What stays is Python and the libraries that it and the wheels load: no shell, no package manager. Each
# package is noted where scanners look for it in images without dpkg (/var/lib/dpkg/status.d).
RUN set -eu; mkdir -p /debs /image/var/lib/dpkg/status.d; cd /debs; \
    apt-get download base-files ca-certificates libbz2-1.0 libc6 libexpat1 libffi8 libgcc-s1 liblzma5 libssl3t64 \
        libpython3.13-minimal libpython3.13-stdlib libsqlite3-0 libstdc++6 libuuid1 libzstd1 python3.13-minimal \
        tzdata zlib1g; \
    for deb in *.deb; do \
        dpkg-deb --extract "$deb" /image; \
        dpkg-deb --field "$deb" >"/image/var/lib/dpkg/status.d/${deb%%_*}"; \
    done; \
    # The byte code that the installation above has made of the same files.
    (cd /usr/lib/python3.13 && find . -name __pycache__ -exec cp -a --parents -t /image/usr/lib/python3.13 {} +); \
    cd /image; \
    # As update-ca-certificates does it.
    sed -s '$a\' usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt; \
    ln -s python3.13 usr/bin/python3; \
    rm -rf usr/share/ca-certificates usr/share/lintian usr/share/bash-completion usr/share/man \
        usr/share/base-files usr/lib/python3.13/pydoc_data usr/lib/python3.13/ensurepip usr/lib/*/gconv \
        usr/lib/*/perl* usr/sbin var/log/*; \
    find usr/share/doc -not -name copyright -not -type d -delete; \
    find usr/share/doc -depth -type d -empty -delete; \
    mkdir -p opt var/lib/wyoming-flux; \
    cp -a /opt/wyoming-flux opt/; \
    ldconfig -r /image; \
    # 1000 is who owns the files of the first person on most machines, the token file among them.
    echo 'root:x:0:0:root:/root:/usr/sbin/nologin' >etc/passwd; \
    echo 'flux:x:1000:1000::/var/lib/wyoming-flux:/usr/sbin/nologin' >>etc/passwd; \
    printf 'root:x:0:\nflux:x:1000:\n' >etc/group; \
    chown 1000:1000 var/lib/wyoming-flux; chmod 700 var/lib/wyoming-flux

FROM scratch AS server
COPY --from=build /image /
ENV PATH=/opt/wyoming-flux/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    STATE_DIRECTORY=/var/lib/wyoming-flux
ARG BUILD_VERSION=0.1.0
LABEL org.opencontainers.image.title="wyoming-flux" \
    org.opencontainers.image.description="Wyoming speech-to-text for Home Assistant on Deepgram Flux" \
    org.opencontainers.image.source="https://github.com/wyoming-flux/wyoming-flux" \
    org.opencontainers.image.documentation="https://github.com/wyoming-flux/wyoming-flux/blob/main/docs/install.md" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$BUILD_VERSION"
VOLUME /var/lib/wyoming-flux
EXPOSE 10300
USER flux
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["wyoming-flux", "health"]
ENTRYPOINT ["wyoming-flux"]
CMD ["serve"]

FROM server AS app
# The Supervisor writes the options for root alone; start.py reads them and then becomes the user above.
USER root
COPY deploy/app/start.py /opt/wyoming-flux/start.py
ARG BUILD_VERSION=0.1.0
ARG BUILD_ARCH=amd64
LABEL io.hass.type="app" \
    io.hass.version="$BUILD_VERSION" \
    io.hass.arch="$BUILD_ARCH"
ENTRYPOINT ["python", "/opt/wyoming-flux/start.py"]
CMD []
