"""`python -m ddb_mcp` is the command `ddb-mcp`."""

import sys

from ddb_mcp.cli.main import main

sys.exit(main())
