# One image for all services; arguments select one: docker run dimse-ingestion proxy. Only the operator has
# its own, by --build-arg EXTRAS=operator: Helm's engine and a Kubernetes client are nobody else's.
#
# BASE is any image with Python 3.11 or newer, its venv module and CA certificates. Builds with the
# classic builder, too. What is installed is what uv.lock says, by digest. In a network whose package
# mirror has a CA of its own, put that CA's bundle beside this file as build-ca.pem: it stays in the
# first stage. `make image` sees to all of that.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS packages
ARG UV_VERSION=0.13.9
ARG HATCHLING_VERSION=1.27.0
ARG EXTRAS="pixels"
ARG SOURCE_DATE_EPOCH=1735689600
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY pyproject.toml uv.lock build-ca.pe[m] ./
RUN set -eu; \
    if [ -s build-ca.pem ]; then export PIP_CERT=/build/build-ca.pem SSL_CERT_FILE=/build/build-ca.pem; fi; \
    python3 -m venv /build/tools; \
    /build/tools/bin/pip install --quiet "uv==${UV_VERSION}" "hatchling==${HATCHLING_VERSION}"; \
    extras=""; for extra in ${EXTRAS}; do extras="${extras} --extra ${extra}"; done; \
    /build/tools/bin/uv export --quiet --frozen --no-dev --no-emit-project ${extras} -o locked.txt; \
    python3 -m venv --without-pip /opt/dimse-ingestion; \
    /build/tools/bin/uv pip install --quiet --no-cache --no-deps --require-hashes \
        --python /opt/dimse-ingestion/bin/python -r locked.txt
COPY README.md LICENSE ./
COPY src src
COPY charts/dimse-ingestion charts/dimse-ingestion
# What only its authors need goes, Helm's library but for the one of three that is loaded, and what
# zstandard has for another interpreter; every file gets one time, and no record of what is gone stays,
# so that the same tree makes the same layer; bytecode is bound to no time and is never looked at again.
RUN set -eu; \
    /build/tools/bin/hatchling build -t wheel -d wheel; \
    /build/tools/bin/uv pip install --quiet --no-cache --no-deps --offline \
        --python /opt/dimse-ingestion/bin/python wheel/*.whl; \
    cd /opt/dimse-ingestion; \
    packages=$(echo lib/python3*/site-packages); \
    find "$packages" -type d \( -name tests -o -name test_files \) -prune -exec rm -rf {} +; \
    find "$packages" \( -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' -o -name '*.cpp' \) -delete; \
    rm -f "$packages"/helm_python/lib/libhelm_c.so "$packages"/helm_python/lib/libhelm_c.so.[0-9]; \
    rm -f "$packages"/zstandard/_cffi*.so; \
    rm -f bin/activate* bin/Activate.ps1 "$packages"/*.dist-info/direct_url.json \
        "$packages"/*.dist-info/uv_cache.json; \
    sed -i '/uv_cache\.json\|direct_url\.json/d' "$packages"/*.dist-info/RECORD; \
    find "$packages" -name __pycache__ -prune -exec rm -rf {} +; \
    PYTHONHASHSEED=0 bin/python -m compileall -q --invalidation-mode unchecked-hash "$packages"; \
    mkdir -p /image/opt; \
    mv /opt/dimse-ingestion /image/opt/; \
    find /image -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

# The base without what no service needs: package managers, documentation, and programs that may
# become root. Taken whole into an empty image, so that what was removed is really not there.
FROM ${BASE} AS system
ARG SOURCE_DATE_EPOCH=1735689600
RUN set -eu; \
    find / -xdev -perm /6000 -type f -exec chmod a-s {} +; \
    rm -rf /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian \
        /usr/share/python-wheels /usr/lib/python3*/ensurepip /usr/lib/python3/dist-packages/pip* \
        /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/* \
        /usr/local/lib/python3*/test /usr/local/lib/python3*/idlelib /usr/local/bin/pip* \
        /usr/local/bin/idle* /usr/local/include /usr/lib/apt /usr/bin/apt* /usr/lib/x86_64-linux-gnu/perl-base \
        /usr/lib/x86_64-linux-gnu/libapt* /usr/bin/perl* /usr/lib/x86_64-linux-gnu/gconv \
        /usr/sbin/iptables* /usr/sbin/ip6tables* /usr/sbin/xtables* /usr/sbin/arptables* /usr/sbin/ebtables* \
        /usr/lib/x86_64-linux-gnu/xtables /usr/sbin/conntrack \
        /var/cache /var/log /var/lib/apt /var/lib/dpkg/info /tmp /build; \
    mkdir -m 1777 /tmp /var/lib/dimse; \
    find / -xdev -name __pycache__ -prune -exec rm -rf {} +; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3* /usr/local/lib/python3* || true; \
    find / -xdev -newermt "@${SOURCE_DATE_EPOCH}" ! -path '/proc*' ! -path '/sys*' ! -path '/dev*' \
        -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} + 2>/dev/null || true

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="dimse-ingestion" \
      org.opencontainers.image.description="DIMSE into the cloud: proxy, ingestion service, DICOMweb and catalogue" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=system / /
COPY --from=packages /image /
# SSL_CERT_FILE: psycopg brings an OpenSSL that looks for authorities where this image has none
ENV PATH=/opt/dimse-ingestion/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    HOME=/tmp \
    STATE_DIRECTORY=/var/lib/dimse \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/dimse
USER 10001:10001
ENTRYPOINT ["dimse-ingestion"]
CMD ["--help"]
