# docker build -t wan-mcp .
# docker run --rm -i -e DASHSCOPE_API_KEY -v "$HOME/Pictures/wan-mcp:/pictures" -v wan-mcp-state:/state wan-mcp
# For a team (docs/team.md) with PostgreSQL, an object store and metrics:
# docker build --build-arg REQUIREMENTS=requirements-server.lock -t wan-mcp-team .
# The folder for the pictures has to be writable for user 10001, or add --user "$(id -u):$(id -g)".
FROM python:3.13-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /source
ENV VIRTUAL_ENV=/wan-mcp UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_NO_CACHE=1
ARG REQUIREMENTS=requirements.lock
COPY ${REQUIREMENTS} ./
RUN uv venv /wan-mcp && uv pip sync --require-hashes ${REQUIREMENTS}
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY tools tools
RUN uv pip install --no-deps .

FROM python:3.13-slim
LABEL io.modelcontextprotocol.server.name="io.github.wan-mcp/wan-mcp" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Text-to-image with Alibaba Cloud Wan models over MCP"
RUN useradd --uid 10001 --create-home wan && mkdir /pictures /state && chmod 1777 /pictures /state
COPY --from=build /wan-mcp /wan-mcp
ENV PATH=/wan-mcp/bin:$PATH WAN_MCP_OUTPUT_DIR=/pictures WAN_MCP_STATE_DIR=/state
USER wan
VOLUME ["/pictures", "/state"]
# Healthy means: settings can be read and the ledger can be opened.
HEALTHCHECK --interval=5m --timeout=10s CMD ["wan-mcp", "tasks", "--limit", "1"]
ENTRYPOINT ["wan-mcp"]
