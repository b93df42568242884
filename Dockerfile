# fetchd's image. For example, with Maildirs under /srv/mail:
#   docker run --read-only --cap-drop=ALL --security-opt=no-new-privileges \
#     -v ./fetchd.yaml:/etc/fetchd/fetchd.yaml:ro -v fetchd:/var/lib/fetchd -v mail:/srv/mail fetchd
# config/compose.yaml puts a Dovecot and a Prometheus beside it; docs/docker.md says more.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# The environment gets no pip of its own. Only wheels: nothing foreign is compiled or run to be installed.
RUN python -m venv /opt/build \
 && python -m venv --without-pip /opt/fetchd \
 && /opt/build/bin/pip install --no-cache-dir --only-binary=:all: --require-hashes -r requirements-build.lock \
 && /opt/build/bin/pip --python /opt/fetchd/bin/python install \
      --no-cache-dir --only-binary=:all: --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY fetchd fetchd
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/fetchd/bin/python install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:${PYTHON_VERSION}-slim
LABEL org.opencontainers.image.title="fetchd" \
      org.opencontainers.image.description="Fetches POP3 mail on a schedule into Maildir or mbox" \
      org.opencontainers.image.licenses="MIT"
# A number that no host user has, so that a file tells who wrote it. To write somebody's Maildir: docker build --build-arg
# UID=1000; or docker run --user, with a directory of theirs in the place of the state volume. For several users: docker run --user 0, and
# in the configuration "owner: '1000:1000'", since the image knows no users; no capability but SETUID and SETGID is needed.
ARG UID=10001
RUN groupadd --gid "$UID" fetchd \
 && useradd --uid "$UID" --gid fetchd --home-dir /var/lib/fetchd --no-create-home --shell /usr/sbin/nologin fetchd \
 && install -d -m 0700 -o fetchd -g fetchd /var/lib/fetchd /srv/mail \
 && install -d -m 0755 /etc/fetchd
COPY --from=build /opt/fetchd /opt/fetchd
ENV PATH=/opt/fetchd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FETCHD_CONFIG=/etc/fetchd/fetchd.yaml \
    STATE_DIRECTORY=/var/lib/fetchd
USER $UID:$UID
VOLUME /var/lib/fetchd
# /metrics and /healthz, where the configuration says "http: 0.0.0.0:9725".
EXPOSE 9725
STOPSIGNAL SIGTERM
# Healthy: the main loop turns and the store can be written. An account that fails makes no container unhealthy.
HEALTHCHECK --interval=30s --timeout=15s --start-period=20s --retries=3 CMD ["fetchd", "health"]
ENTRYPOINT ["fetchd"]
