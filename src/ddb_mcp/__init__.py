"""DynamoDB for coding agents: one deployment's slice of a shared table, over MCP."""

__version__ = "0.2.0"
