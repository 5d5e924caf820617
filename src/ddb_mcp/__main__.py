"""`python -m ddb_mcp`, the same as `ddb-mcp`."""

import sys

from ddb_mcp.cli.main import main

sys.exit(main())
