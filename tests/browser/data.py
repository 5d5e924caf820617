"""Items that the data browser shows: a small shop, as somebody would build it, and what nobody would."""

from __future__ import annotations

import asyncio
import base64
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ddb_mcp.cli.service import make_service
from ddb_mcp.config.resolve import resolve_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX = "deploy#demo"
PlainItem = dict[str, Any]

NOW = 1_795_600_000  # 2026-11-25
LATER = 4_102_479_960  # 2100-01-01 09:46: what has expired is swept
DAY = 86_400
_NAMES = (
    "Ada Byron",
    "Grace Hopper",
    "Edsger Dijkstra",
    "Barbara Liskov",
    "Alan Turing",
    "Katherine Johnson",
    "Tony Hoare",
)
_CITIES = ("London", "New York", "Rotterdam", "Boston", "Manchester", "Hampton", "Oxford")
_THINGS = ("Desk lamp", "Notebook, squared", "Fountain pen", "Ink, blue-black", "Globe", "Paper clips", "Drawing board")


def key(pk: str, sk: str) -> PlainItem:
    return {"pk": f"{PREFIX}#{pk}", "sk": sk}


def shop() -> list[PlainItem]:
    """Users with their orders and posts, products, and sessions that expire."""
    items: list[PlainItem] = []
    for at, name in enumerate(_NAMES, 1):
        user, mail = f"user#{at}", f"{name.split()[0].lower()}@example.com"
        joined = NOW - at * 40 * DAY
        profile = {"name": name, "email": mail, "roles": {"SS": ["author", "reader"]}, "created_at": joined}
        profile |= {"address": {"city": _CITIES[at - 1], "lines": [f"{at} Long Road"]}, "balance": at * 12.5}
        items.append({**key(user, "PROFILE"), **profile, "newsletter": at % 2 == 0})
        for number in range(1, 5):
            total = {"N": "12345678901234567890.50"} if (at, number) == (1, 1) else at * 7.25 + number
            order = {"status": ("open", "paid", "sent", "returned")[number - 1], "total": total, "items": number}
            items.append(
                {**key(user, f"ORDER#2026-1{number % 3}-0{number}"), **order, "paid_at": joined + number * DAY}
            )
        for day in range(1, 8):
            post = {
                "title": f"Day {day} with the {_THINGS[(at + day) % 7].lower()}",
                "likes": day * at,
                "draft": day == 7,
            }
            items.append({**key(user, f"POST#2026-11-{day:02}"), **post})
    for at, thing in enumerate(_THINGS, 1):
        picture = {"B": base64.b64encode(bytes(range(at * 9))).decode()}
        items.append(
            {
                **key(f"product#p{at}", "DETAIL"),
                "title": thing,
                "price": at * 3.95,
                "picture": picture,
                "stock": None if at == 3 else at * 11,
            }
        )
    for at in range(1, 6):
        items.append({**key(f"session#s{at}", "SESSION"), "user": f"user#{at}", "ttl": LATER + at * DAY})
    return items


def many(count: int = 500) -> list[PlainItem]:
    """Events of one partition, numbered."""
    return [
        {**key("log#app", f"EVENT#{at:04}"), "number": at, "level": "warn" if at % 10 == 0 else "info"}
        for at in range(count)
    ]


HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def hostile() -> list[PlainItem]:
    """Text that would be HTML, names that objects inherit, what turns text round, what is very long or very many."""
    return [
        {**key("evil#html", f"A#{HOSTILE}"), "text": HOSTILE, HOSTILE: "a name", "list": [HOSTILE, {HOSTILE: HOSTILE}]},
        {
            **key("evil#names", "B"),
            "__proto__": "a",
            "constructor": "b",
            "a.b[0]": "dotted",
            "`tick`": 1,
            "<b>": {"SS": [HOSTILE]},
        },
        {
            **key("evil#bidi", "C#\u202egnp.exe"),
            "bidi": "invoice\u202egnp.exe",
            "tags": "x\U000e0041\u200b\u0007",
            "lines": "a\r\nb",
        },
        {**key("evil#long", "D"), "long": "x" * 390_000, "short": "s"},
        {**key("evil#many", "E"), **{f"attribute{at:04}": at for at in range(2000)}},
    ]


def store(path: Path, items: Sequence[PlainItem]) -> None:
    """Put the items into the file of a local store, as an agent would."""
    for at in range(0, len(items), 100):
        result = call(path, "put", items=list(items[at : at + 100]))
        assert not result["failed"], result["failed"][:3]


def call(path: Path, tool: str, *, indexes: str = "", **arguments: Any) -> dict[str, Any]:
    """What somebody else does to the file meanwhile: one call of a tool, by a service of its own.

    Args:
        indexes: DDB_MCP_INDEXES of that service.
    """

    async def run() -> dict[str, Any]:
        service = make_service(resolve_settings({**environment(path), "DDB_MCP_INDEXES": indexes}, {}))
        try:
            return await service.run_operation(tool, arguments, max_bytes=4_000_000)
        finally:
            await service.store.close()

    with ThreadPoolExecutor(1) as other:  # while Chromium runs, this thread has an event loop
        return other.submit(asyncio.run, run()).result()


def environment(path: Path) -> dict[str, str]:
    """The settings of local mode on this file."""
    return {"DDB_MCP_MODE": "local", "DDB_MCP_LOCAL_PATH": str(path), "DYNAMODB_PREFIX": PREFIX}


_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LINES = (
    "Called twice about the broken lamp; wants a refund or a new one before Friday, whichever is quicker. ",
    "Kunde hat die Größe verwechselt und schickt die Ware zurück. ",
    "配達は午前中を希望しています。不在の場合は隣の方にお預けください。",
    "تم تسليم الطلب في الوقت المحدد وكان العميل سعيدا جدا بالخدمة والتغليف. ",
    "המשלוח הגיע באיחור של יומיים והלקוח ביקש זיכוי חלקי. ",
    "Loved it 👩‍👩‍👧‍👦🎉 five stars ⭐⭐⭐⭐⭐ would order again 🇳🇱 ",
)


def people(count: int = 300) -> list[PlainItem]:
    """Items as apps store them: UUIDs, ULIDs, long keys, 40 attributes, long texts, nested maps, several scripts."""
    chance = random.Random(7)
    items: list[PlainItem] = []
    for at in range(count):
        customer = f"CUSTOMER#{uuid.UUID(int=chance.getrandbits(128), version=4)}"
        ulid = "01JD" + "".join(chance.choices(_ULID, k=22))
        address = {
            "street": f"{at} Long Road",
            "city": _CITIES[at % 7],
            "geo": {"lat": 52.37, "lon": {"deg": 4, "min": at}},
        }
        match at % 5:
            case 0:
                own = {
                    "name": _NAMES[at % 7],
                    "address": address,
                    "email": f"customer{at}@a-rather-long-company.example",
                }
                items.append({**key(customer, "PROFILE"), **own, "created_at": NOW - at * DAY, "vip": at % 3 == 0})
            case 1:
                order = {"order_id": ulid, "note": _LINES[at % 6] * 3, "lines": [{"sku": ulid[:9], "address": address}]}
                items.append({**key(customer, f"ORDER#{ulid}"), **order, "total": at * 7.25, "status": "paid"})
            case 2:
                long = f"TENANT#acme-industries-europe#REGION#eu-west-1#DEVICE#{at:06}"
                readings = {f"sensor_{number:02}": chance.random() * 100 for number in range(40)}
                items.append({**key(long, f"READING#2026-11-{at % 28 + 1:02}T12:00:00Z"), **readings})
            case 3:
                review = {"text": _LINES[at % 6], "title": _LINES[(at + 1) % 6].strip(), "stars": at % 5 + 1}
                items.append({**key(f"مستخدم#{_LINES[3][:30]}{at}", f"REVIEW#🎉👩‍👩‍👧‍👦#{ulid}"), **review})
            case _:
                session = {
                    "user": customer,
                    "agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
                }
                items.append({**key(f"SESSION#{ulid}{ulid}", "SESSION"), **session, "ttl": LATER + at})
    return items
