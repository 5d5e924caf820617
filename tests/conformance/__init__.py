"""What others say of the server: the official conformance suite, the MCP Inspector, both generations of the TypeScript SDK.

Run by `make conformance`, apart from the other tests, which need none of this.
"""
