# fetchd's image. For example, with mailboxes under /srv/mail that the image's user (10001) may write:
#   docker run -v ./fetchd.yaml:/etc/fetchd/fetchd.yaml:ro -v fetchd:/var/lib/fetchd -v /srv/mail:/srv/mail fetchd
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
# A number that no host user has, so that a file tells who wrote it. To write somebody's Maildir: docker run --user, with
# that user's ids, and a directory of theirs in the place of the state volume.
RUN groupadd --gid 10001 fetchd \
 && useradd --uid 10001 --gid fetchd --home-dir /var/lib/fetchd --no-create-home --shell /usr/sbin/nologin fetchd \
 && install -d -m 0700 -o fetchd -g fetchd /var/lib/fetchd \
 && install -d -m 0755 /etc/fetchd
COPY --from=build /opt/fetchd /opt/fetchd
ENV PATH=/opt/fetchd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FETCHD_CONFIG=/etc/fetchd/fetchd.yaml \
    STATE_DIRECTORY=/var/lib/fetchd
USER 10001:10001
VOLUME /var/lib/fetchd
# /metrics and /healthz, where the configuration says "http: 0.0.0.0:9725".
EXPOSE 9725
STOPSIGNAL SIGTERM
ENTRYPOINT ["fetchd"]
