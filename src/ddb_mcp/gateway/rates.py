"""How much a deployment may ask of one gateway process: requests and items read per second, and requests at once."""

import math
import time
from dataclasses import dataclass, field

import anyio

from ddb_mcp.core import limits
from ddb_mcp.core.errors import Throttled
from ddb_mcp.gateway.deployments import Tenant


@dataclass
class _Bucket:
    per_second: float
    level: float = field(init=False)
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.per_second * limits.BURST_SECONDS
        self.at = time.monotonic()

    def fill(self) -> float:
        now = time.monotonic()
        self.level = min(self.per_second * limits.BURST_SECONDS, self.level + (now - self.at) * self.per_second)
        self.at = now
        return self.level


class RateExceeded(Throttled):
    """`wait`: seconds until there is room again."""

    def __init__(self, what: str, wait: float) -> None:
        self.wait = max(1, math.ceil(wait))
        super().__init__(f"This deployment has had its {what} for now.", next=f"Wait {self.wait} s, then call again.")


class Rates:
    """One deployment's rates. `turns` is held while a request of its is worked on."""

    def __init__(self, tenant: Tenant) -> None:
        self.turns = anyio.CapacityLimiter(limits.TENANT_CALLS_AT_ONCE)
        self._requests = _Bucket(tenant.requests_per_second)
        self._items = _Bucket(tenant.items_per_second)

    def admit(self) -> None:
        """Count a request. Raises RateExceeded where that is one too many, or too many items have been read."""
        if (level := self._items.fill()) < 0:
            raise RateExceeded("items read", -level / self._items.per_second)
        if (level := self._requests.fill()) < 1:
            raise RateExceeded("requests", (1 - level) / self._requests.per_second)
        self._requests.level -= 1

    def read(self, items: int) -> None:
        """Count items that a request has read, known only afterwards: the next requests wait for a debt."""
        self._items.level -= items
