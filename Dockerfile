# ovauth in a container: runs as nobody in particular, writes below /data alone, so the rest may be read-only.
#
#   docker build -t ovauth .
#   docker run --read-only -v ovauth:/data -p 127.0.0.1:1933:1933 ovauth
#
# Other commands than `serve`, in a running container:  docker exec CONTAINER python manage.py check --deploy

FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# What is needed changes less often than the program: this layer is kept.
COPY pyproject.toml ./
RUN uv sync --no-dev --no-cache
COPY . .
# Nothing may be written at run time, so Python's compiled files are made here.
RUN .venv/bin/python -m compileall -q .

FROM python:3.11-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin ovauth \
    && install -d -o ovauth -g ovauth -m 700 /data
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OVAUTH_DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 1933
# `serve` answers what it has received within ten seconds, and then ends: give `docker stop` a few more (--timeout 20).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, sys; asked = http.client.HTTPConnection('127.0.0.1', 1933, timeout=4); asked.request('GET', '/health/ready'); sys.exit(asked.getresponse().status != 200)"]
ENTRYPOINT ["python", "manage.py"]
CMD ["serve", "--host", "0.0.0.0"]
