# syncd in a small image that runs as an ordinary user. Configuration: /etc/syncd. State: /var/lib/syncd.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
RUN python -m venv /opt/syncd
WORKDIR /src
# The dependencies first: they change more seldom than the program does. Their hashes are in the lock file, which is
# requirements.lock without what only the demo and the tests need.
COPY deploy/requirements.lock .
RUN /opt/syncd/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY . .
RUN /opt/syncd/bin/pip install --no-deps . && /opt/syncd/bin/python -m compileall -q /opt/syncd

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/syncd --create-home --shell /usr/sbin/nologin syncd \
    && install -d -o syncd -g syncd -m 0750 /etc/syncd
COPY --from=build /opt/syncd /opt/syncd
ENV PATH=/opt/syncd/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER syncd
WORKDIR /var/lib/syncd
VOLUME /var/lib/syncd
EXPOSE 8787
STOPSIGNAL SIGTERM
# The daemon's grace period is 20 s by default: `docker stop` needs --time 30 (compose: stop_grace_period).
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as u; u.urlopen(os.environ.get('SYNCD_HEALTH', 'http://127.0.0.1:8787/healthz'), timeout=4)"]
ENTRYPOINT ["syncd"]
CMD ["run", "/etc/syncd"]
