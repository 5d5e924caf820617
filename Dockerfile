# One image for the server and the gateway; docs/gateway.md shows how to run it.
FROM python:3.13-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY skill skill
COPY locks/python.txt locks/python.txt
# Only wheels, so nothing is compiled. The final image copies the environment and nothing else.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir wheel . \
 && python -m venv /opt/ddb-mcp \
 && /opt/ddb-mcp/bin/pip install --no-cache-dir --only-binary :all: --constraint locks/python.txt wheel/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.licenses="MIT" \
      io.modelcontextprotocol.server.name="io.github.ddb-mcp/ddb-mcp"
COPY --from=build /opt/ddb-mcp /opt/ddb-mcp
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin ddb-mcp \
 && install -d -o ddb-mcp -g ddb-mcp -m 0700 /data
USER 10001
# The root file system may be read-only: the program writes only to /data (in local mode) and /tmp.
ENV PATH=/opt/ddb-mcp/bin:$PATH HOME=/data PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8787
# For the gateway. A server over stdio has no port; run it with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD \
  ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8787/health', timeout=4)"]
ENTRYPOINT ["ddb-mcp"]
CMD ["gateway", "serve", "--host", "0.0.0.0", "--behind-tls-proxy"]
