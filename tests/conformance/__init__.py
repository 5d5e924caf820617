"""What others say of the server: the official conformance suite, the MCP Inspector, the TypeScript SDK's two clients.

Run by `make conformance`, apart from the other tests, which need none of this.
"""
