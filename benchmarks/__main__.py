"""Every benchmark with its ratios, one after the other: `python -m benchmarks [NAME…]`. The soak runs on its own."""

import sys
from importlib import import_module

for name in sys.argv[1:] or ("startup", "local", "direct", "gateway", "endpoint", "tasks"):
    import_module(f"benchmarks.{name}").main()
    print(flush=True)
