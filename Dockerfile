# One image for the whole stack: worker, beat, Flower. See docs/deployment.md.
ARG BASE=docker.io/library/python:3.11-slim

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python -m venv /opt/venv
# What changes seldom comes first, so that a change of the code installs nothing anew.
COPY pyproject.toml constraints.txt ./
RUN python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    print(*p["dependencies"], *p["optional-dependencies"]["flower"], sep="\n")' > requirements.txt \
    && /opt/venv/bin/pip install --quiet -c constraints.txt -r requirements.txt
COPY . .
RUN /opt/venv/bin/pip install --quiet --no-deps . && /opt/venv/bin/python -m compileall -q workers deploy

FROM ${BASE}
LABEL org.opencontainers.image.title="celery-hardening" org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HARDENING_SPOOL_PATH=/var/lib/celery-hardening/spool
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /src/workers workers
COPY --from=build /src/deploy/__init__.py /src/deploy/prepare.py /src/deploy/flowerconfig.py deploy/
# A volume that is mounted here begins with this owner.
RUN mkdir -p /var/lib/celery-hardening && chown 10001:10001 /var/lib/celery-hardening
USER 10001:10001
# To Celery's own process, which is number 1: it stops warm.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 \
    CMD ["celery", "-A", "workers.app", "hardening", "health", "--outage-is-well"]
CMD ["celery", "-A", "workers.app", "worker"]
