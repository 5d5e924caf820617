"""What quiet clients feel while others do their worst: `python -m benchmarks.hostile [SECONDS [PART [SECTION]]]`.

`PART` is a part of the names of the rows to run, and `SECTION` one of the names in `table.SECTIONS`. Each row is a
server of its own over SQLite, which 8 processes attack. Beside it stand the worst wait of another tenant for a small
call every 20 ms, and for a `put` and a `get` of 390 KB; how many times the unloaded 99th percentile that is; the most
memory that the server had; how much of a processor it takes from 2 s after the last attacker was killed; and how many
calls of the other tenant failed. Rows that miss their target say so.
"""

import sys

from benchmarks.hostile.table import main

seconds, part, section = (*sys.argv[1:4], *("3", "", "")[len(sys.argv) - 1 :])
main(float(seconds), part, section)
