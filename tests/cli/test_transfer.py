"""`ddb-mcp export` and `ddb-mcp import`: what comes out, what goes in, and that nothing foreign ever does."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import shlex
import signal
import stat
import subprocess
import sys
import termios
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ddb_mcp.cli.files import write_whole_file
from ddb_mcp.core.errors import InvalidArgument
from ddb_mcp.core.items import parse_item
from ddb_mcp.service.transfer.sources import ItemSource
from tests.gateway.process import Operator
from tests.platform.documented import PREFIX, TOKEN, DocumentedPlatform, Raw
from tests.support.commands import run_command
from tests.support.engines import Engine
from tests.support.forking import DDB_MCP, Process

OWN = {"DYNAMODB_PREFIX": "deploy#one"}
TWO = {"DYNAMODB_PREFIX": "deploy#two"}
DIGITS = "0.12345678901234567890123456789012345678"
ITEMS: list[dict[str, Any]] = [
    {
        "pk": {"S": "deploy#one#order#1"},
        "sk": {"S": "ORDER#1"},
        "total": {"N": "0.12345678901234567890123456789012345678"},
    },
    {"pk": {"S": "deploy#one#user#7"}, "sk": {"S": "POST#1"}, "tags": {"SS": ["a", "é"]}, "raw": {"B": "aGk="}},
    {"pk": {"S": "deploy#one#user#7"}, "sk": {"S": "POST#2"}, "n": {"NS": ["1", "12345678901234567890"]}},
    {
        "pk": {"S": "deploy#one#user#7"},
        "sk": {"S": "PROFILE"},
        "m": {"M": {"S": {"S": "x"}, "l": {"L": [{"NULL": True}]}}},
    },
]


def lines(*items: dict[str, Any]) -> str:
    return "".join(json.dumps({"Item": item}, ensure_ascii=False) + "\n" for item in items)


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line)["Item"] for line in text.splitlines()]


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def run(operator: Operator, *words: str, given: str | bytes = "", **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**operator.environment, **OWN, **settings}
    return run_command(*words, environment=environment, folder=operator.folder, stdin=given)


@pytest.fixture
def filled(operator: Operator) -> Operator:
    assert run(operator, "import", given=lines(*ITEMS)).stdout == "4 items imported\n"
    return operator


# There and back


def test_every_type_and_digit_goes_there_and_back(filled: Operator) -> None:
    done = run(filled, "export")
    assert (done.returncode, done.stderr) == (0, "4 items exported\n")
    assert parsed(done.stdout) == ITEMS


def test_a_file_is_private_packed_by_its_name_and_never_replaced(filled: Operator) -> None:
    for name in ("items.jsonl", "items.jsonl.gz"):
        assert run(filled, "export", name).returncode == 0
        assert stat.S_IMODE((filled.folder / name).stat().st_mode) == 0o600
        assert run(filled, "export", name).returncode == 2
        assert run(filled, "import", name, "--create-only").stdout == "0 items imported, 4 items there already\n"
    assert parsed(gzip.decompress((filled.folder / "items.jsonl.gz").read_bytes()).decode()) == ITEMS
    assert not list(filled.folder.glob(".items*"))


def test_a_folder_that_is_not_there_is_named(filled: Operator) -> None:
    folder = filled.folder / "none"
    done = run(filled, "export", str(folder / "x.jsonl"))
    assert done.returncode == 2
    assert f"There is no directory {folder}." in done.stderr


def test_packed_lines_are_taken_from_stdin(operator: Operator) -> None:
    assert run(operator, "import", given=gzip.compress(lines(*ITEMS).encode())).stdout == "4 items imported\n"


def test_plain_json_and_a_mark_before_it_are_taken(operator: Operator) -> None:
    given = '\ufeff{"pk": "deploy#one#a", "sk": "1", "n": 0.12345678901234567890123456789}\n\n'
    assert run(operator, "import", given=given).stdout == "1 item imported\n"
    assert parsed(run(operator, "export").stdout)[0]["n"] == {"N": "0.12345678901234567890123456789"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--pk", "deploy#one#user#7"], [1, 2, 3]),
        (["--pk", "deploy#one#user#7", "--sk-prefix", "POST#"], [1, 2]),
        (["--pk-prefix", "deploy#one#order#"], [0]),
        (["--sk-prefix", "P"], [1, 2, 3]),
        (["--sk-from", "POST#2", "--sk-to", "PROFILE"], [2, 3]),
        (["--filter", '{"raw": {"exists": true}}'], [1]),
        (["--filter", '{"total": {"N": "0.12345678901234567890123456789012345678"}}'], [0]),
        (["--dynamodb-prefix", "deploy#two"], []),
    ],
)
def test_the_words_of_where_choose(filled: Operator, words: list[str], found: list[int]) -> None:
    assert parsed(run(filled, "export", *words).stdout) == [ITEMS[at] for at in found]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pk", "deploy#two#user#7"], "outside this deployment"),
        (["--pk-prefix", "deploy#"], "outside this deployment"),
        (["--filter", "{"], "filter"),
        (["--filter", "[1]"], "JSON object"),
        (["--pk", "deploy#one#a", "--pk-prefix", "deploy#one#"], "cannot be combined"),
        (["--sk-prefix", "a", "--sk-to", "b"], "cannot be combined"),
    ],
)
def test_a_wrong_choice_is_refused(operator: Operator, words: list[str], said: str) -> None:
    done = run(operator, "export", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


# Between prefixes


def test_another_prefix_is_replaced(filled: Operator) -> None:
    done = run(filled, "import", "--from-prefix", "deploy#one", given=run(filled, "export").stdout, **TWO)
    assert done.stdout == "4 items imported\n"
    moved = parsed(run(filled, "export", **TWO).stdout)
    assert [item["pk"]["S"].replace("deploy#two", "deploy#one") for item in moved] == [i["pk"]["S"] for i in ITEMS]
    assert parsed(run(filled, "export").stdout) == ITEMS


def test_items_under_a_prefix_of_one_segment_can_be_moved_in_local_mode(operator: Operator) -> None:
    import anyio

    from ddb_mcp.stores.base import NO_CONDITION
    from ddb_mcp.stores.local.store import LocalStore

    async def stored_by_an_older_version() -> None:
        store = LocalStore(operator.folder / "items.sqlite3", "ddb-mcp-local")
        await store.put({"pk": {"S": "deploy#user#7"}, "sk": {"S": "1"}}, NO_CONDITION)
        await store.close()

    anyio.run(stored_by_an_older_version)
    old = run(operator, "export", "--prefix", "deploy").stdout
    assert run(operator, "import", "--from-prefix", "deploy", given=old).stdout == "1 item imported\n"
    assert parsed(run(operator, "export").stdout)[0]["pk"] == {"S": "deploy#one#user#7"}


FOREIGN = [
    (
        "another deployment's",
        lines(ITEMS[0], {"pk": {"S": "deploy#two#a"}, "sk": {"S": "1"}}),
        "line 2 of stdin: pk is outside",
    ),
    ("the prefix alone", lines({"pk": {"S": "deploy#one#"}, "sk": {"S": "1"}}), "line 1 of stdin: pk is outside"),
    ("a longer name", lines({"pk": {"S": "deploy#one1#a"}, "sk": {"S": "1"}}), "line 1 of stdin: pk is outside"),
    ("no key", lines(ITEMS[0], {"pk": {"S": "deploy#one#a"}}), "line 2 of stdin: the item has no 'sk'"),
    ("no JSON", lines(ITEMS[0]) + "nonsense\n", "line 2 of stdin: the item"),
    ("a member twice", '{"Item": {"pk": {"S": "deploy#one#a"}, "pk": {"S": "deploy#two#a"}}}\n', "twice"),
    ("a list in a list", "[[]]\n", "item 1 of stdin: the item must be a JSON object"),
    ("a number in a list", f"[5, {json.dumps(ITEMS[0])}]", "item 1 of stdin: the item is not valid JSON"),
    ("a text in a list", f'[{json.dumps(ITEMS[0])}, "x"]', "item 2 of stdin: the item"),
    ("a foreign item in a list", json.dumps([{"pk": "deploy#two#a", "sk": "1"}]), "1 of 1 items of stdin cannot"),
    ("half a list", f"[{json.dumps(ITEMS[0])}, {{", "stdin ends within item 2 of stdin"),
    ("two lists", "[][]", "more data after its array"),
    ("a scan without an end", '{"Items": []', "more data after its array"),
    ("39 digits", lines({**ITEMS[0], "n": {"N": "1" * 39}}), "line 1 of stdin"),
    ("no UTF-8", b"\xff\xfe{\x00", "not UTF-8"),
    ("half a file", gzip.compress(lines(*ITEMS).encode())[:-9], "damaged"),
    ("a line without end", b"x" * 8_100_000, "longer than"),
]


@pytest.mark.parametrize(("given", "said"), [pytest.param(*case[1:], id=case[0]) for case in FOREIGN])
def test_one_line_that_is_no_own_item_keeps_all_out(operator: Operator, given: str | bytes, said: str) -> None:
    done = run(operator, "import", given=given)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert run(operator, "export").stdout == ""


def test_a_file_of_another_deployment_names_the_flag_and_the_first_lines(operator: Operator) -> None:
    many = lines(*({"pk": {"S": f"deploy#two#{at}"}, "sk": {"S": "1"}} for at in range(20)))
    done = run(operator, "import", given=many)
    assert "20 of 20 lines of stdin" in done.stderr
    assert "--from-prefix" in done.stderr
    assert done.stderr.count("line ") == 5
    mixed = run(operator, "import", "--from-prefix", "deploy#two", given=many + lines(ITEMS[0]))
    assert "1 of 21 lines of stdin" in mixed.stderr


# Writing


def test_the_later_of_two_lines_with_one_key_wins(operator: Operator) -> None:
    key = {"pk": {"S": "deploy#one#a"}, "sk": {"S": "1"}}
    run(operator, "import", given=lines(*({**key, "at": {"N": str(at)}} for at in range(50))))
    assert parsed(run(operator, "export").stdout) == [{**key, "at": {"N": "49"}}]


@pytest.mark.parametrize("create_only", [[], ["--create-only"]])
def test_a_repeated_key_is_one_item(operator: Operator, create_only: list[str]) -> None:
    key = {"pk": {"S": "deploy#one#a"}, "sk": {"S": "1"}}
    repeated = [{**key, "at": {"N": str(at)}} for at in range(700)]  # several batches
    given = lines(*repeated[:350], ITEMS[0], *repeated[350:])
    there = ", 0 items there already" if create_only else ""
    assert run(operator, "import", "--dry-run", *create_only, given=given).stdout == "2 items would be imported\n"
    done = run(operator, "import", *create_only, given=given)
    assert (done.stdout, done.stderr) == (f"2 items imported{there}\n", "")
    assert parsed(run(operator, "export").stdout) == [repeated[-1], ITEMS[0]]
    if create_only:
        again = run(operator, "import", *create_only, given=given)
        assert again.stdout == "0 items imported, 2 items there already\n"


def forms(items: list[dict[str, Any]]) -> dict[str, str]:
    """The same items in every form that `import` reads; plain JSON has no types here."""
    counts = {"Count": len(items), "ScannedCount": len(items), "ConsumedCapacity": None}
    plain = [{name: next(iter(value.values())) for name, value in item.items()} for item in items]
    return {
        "lines": lines(*items),
        "plain lines": "".join(json.dumps(item) + "\n" for item in plain),
        "lines with Windows' ends": lines(*items).replace("\n", "\r\n"),
        "an array": json.dumps(items),
        "a plain array": json.dumps(plain, indent=4),
        "an array of lines": json.dumps([{"Item": item} for item in items]),
        "a scan": json.dumps({"Items": items, **counts}, indent=4),
        "a scan as AWS documents it": json.dumps(dict(sorted({"Items": items, **counts}.items())), indent=4),
        "a scan on one line that stopped": json.dumps({"Items": items, **counts, "NextToken": "[]}"}),
    }


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.extended)])
@pytest.mark.parametrize("form", forms([]))
def test_every_form_of_many_items(operator: Operator, form: str, count: int) -> None:
    """With what could be taken for the end of a text: quotes, backslashes and brackets in strings."""
    text = {"S": 'a "]}\\" \\ {[ \u2028 é\n' + "x" * 60}
    items = [{"pk": {"S": f"deploy#one#{at % 7}"}, "sk": {"S": f"{at:06}"}, 'n]"': text} for at in range(count)]
    given = forms(items)[form].encode()
    file = operator.folder / "items"
    file.write_bytes(gzip.compress(given, 1) if "array" in form else given)
    with file.open("rb") as stream:
        found = [
            parse_item(json.loads(text).get("Item") or json.loads(text)) for _, text in ItemSource("f", stream).texts()
        ]
    assert found == items
    if form.endswith("array"):
        assert run(operator, "import", str(file)).stdout == f"{count} items imported\n"


def test_create_only_leaves_what_is_there(filled: Operator) -> None:
    changed = {**ITEMS[0], "total": {"N": "0"}}
    new = {"pk": {"S": "deploy#one#z"}, "sk": {"S": "1"}}
    done = run(filled, "import", "--create-only", given=lines(changed, new))
    assert done.stdout == "1 item imported, 1 item there already\n"
    assert parsed(run(filled, "export").stdout) == [*ITEMS, new]


def test_a_dry_run_stores_nothing_and_read_only_allows_it(operator: Operator) -> None:
    for settings in ({}, {"DDB_MCP_READ_ONLY": "1"}):
        done = run(operator, "import", "--dry-run", given=lines(*ITEMS), **settings)
        assert (done.returncode, done.stdout) == (0, "4 items would be imported\n")
    assert run(operator, "import", given=lines(*ITEMS), DDB_MCP_READ_ONLY="1").returncode == 2
    assert run(operator, "export").stdout == ""


def test_an_import_that_was_killed_can_be_run_again(operator: Operator) -> None:
    many = [{"pk": {"S": "deploy#one#a"}, "sk": {"S": f"{at:05}"}, "x": {"S": "x" * 500}} for at in range(3000)]
    (operator.folder / "many.jsonl").write_text(lines(*many))
    command = [DDB_MCP, "import", "many.jsonl"]
    environment = {**operator.environment, **OWN}
    with Process(command, env=environment, cwd=operator.folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "items imported" in process.stderr.readline()
        process.send_signal(signal.SIGKILL)
    again = run(operator, "import", "--create-only", "many.jsonl").stdout
    written, existing = (int(word) for word in again.split() if word.isdigit())
    assert written + existing == 3000
    assert existing >= 500
    assert parsed(run(operator, "export").stdout) == many


def test_a_terminal_sees_a_bar(operator: Operator) -> None:
    many = lines(*({"pk": {"S": "deploy#one#a"}, "sk": {"S": str(at)}} for at in range(300)))
    (operator.folder / "many.jsonl").write_text(many)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    environment = {**operator.environment, **OWN, "TERM": "xterm"}
    command = [DDB_MCP, "import", "many.jsonl"]
    with Process(
        command, env=environment, cwd=operator.folder, stderr=theirs, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == "300 items imported\n"
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    assert "imported:" in shown
    assert "/300" in shown


# Other stores


@pytest.fixture
def platform() -> Iterator[DocumentedPlatform]:
    with DocumentedPlatform() as platform:
        yield platform


def on(platform: DocumentedPlatform) -> dict[str, str]:
    return {
        "DDB_MCP_API_URL": platform.url,
        "DDB_MCP_AUTH_TOKEN": TOKEN,
        "DYNAMODB_PREFIX": "",
        "DDB_MCP_LOCAL_PATH": "",
    }


def test_a_platform_takes_plain_values_and_refuses_all_where_it_cannot_take_one(
    operator: Operator, platform: DocumentedPlatform
) -> None:
    plain = {"pk": {"S": PREFIX + "#a"}, "sk": {"S": "1"}, "n": {"N": "1.5"}}
    typed = {"pk": {"S": PREFIX + "#a"}, "sk": {"S": "2"}, "s": {"SS": ["x"]}}
    assert run(operator, "import", given=lines(plain, typed), **on(platform)).returncode == 2
    assert run(operator, "import", "--create-only", given=lines(plain), **on(platform)).returncode == 2
    assert not platform.items
    assert run(operator, "import", given=lines(plain), **on(platform)).stdout == "1 item imported\n"
    done = run(operator, "export", **on(platform))
    assert parsed(done.stdout) == [plain]
    assert done.returncode == 1
    assert "does not say whether there is more" in done.stderr


def test_an_import_that_fails_says_how_far_it_came(operator: Operator, platform: DocumentedPlatform) -> None:
    lock = threading.Lock()

    def answer(operation: str, result: Any) -> Any:
        with lock:
            return Raw(403, b"{}") if operation == "put" and len(platform.items) > 100 else result

    platform.answer = answer
    many = lines(*({"pk": {"S": PREFIX + "#a"}, "sk": {"S": str(at)}} for at in range(300)))
    done = run(operator, "import", given=many, **on(platform))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Failed: 1" in done.stderr
    assert "of 300 items imported; the rest is unchanged. Run it again to continue." in done.stderr


def test_a_file_that_cannot_be_read_is_a_wrong_call(operator: Operator) -> None:
    for name in ("none.jsonl", "."):
        done = run(operator, "import", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{name} cannot be read: " in done.stderr


def test_an_interrupted_import_says_once_how_far_it_came(operator: Operator, platform: DocumentedPlatform) -> None:
    reached, go = threading.Event(), threading.Event()

    def answer(operation: str, result: Any) -> Any:
        if operation == "put" and len(platform.items) > 100:
            reached.set()
            go.wait(300)  # the command waits for this answer until Ctrl-C ends it
            return Raw(503, b"{}")
        return result

    platform.answer = answer
    many = lines(*({"pk": {"S": PREFIX + "#a"}, "sk": {"S": str(at)}} for at in range(300)))
    (operator.folder / "many.jsonl").write_text(many)
    environment = {**operator.environment, **OWN, **on(platform)}
    with Process(
        [DDB_MCP, "import", "many.jsonl"],
        env=environment,
        cwd=operator.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert reached.wait(300)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=300)
        go.set()
    assert (process.returncode, out) == (130, "")
    assert re.fullmatch(
        r"Interrupted: \d+ of 300 items imported; the rest is unchanged\. Run it again to continue\.\n", said
    )


def test_from_a_local_file_to_a_table(filled: Operator, dynoxide: Engine) -> None:
    table = {
        "DYNAMODB_TABLE": dynoxide.create_table(),
        "AWS_ENDPOINT_URL_DYNAMODB": dynoxide.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "DDB_MCP_LOCAL_PATH": "",
    }
    exported = run(filled, "export").stdout
    assert run(filled, "import", given=exported, **table).stdout == "4 items imported\n"
    back = parsed(run(filled, "export", **table).stdout)
    assert sorted(back, key=lambda item: (item["pk"]["S"], item["sk"]["S"])) == ITEMS


# Files that are not what they seem


def lines_of(folder: Path, content: bytes) -> list[tuple[str, str]]:
    """The texts of the items in a file with this content, with their places."""
    file = folder / "items.jsonl"
    file.write_bytes(content)
    with file.open("rb") as stream:
        return list(ItemSource("items.jsonl", stream).texts())


def steps_of(work: Callable[[], object]) -> int:
    """How many functions a piece of work calls, those of C too."""
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return steps


MEMBER = 2**24
BLANK = {"line ends": b"\n", "line ends of Windows": b"\r\n", "spaces": b" " * 1023 + b"\n"}


@pytest.mark.parametrize("blank", BLANK.values(), ids=BLANK)
def test_blank_lines_are_skipped_together(tmp_path: Path, blank: bytes) -> None:
    packed = gzip.compress(blank * (MEMBER // len(blank))) * 4
    steps = steps_of(lambda: lines_of(tmp_path, packed))
    assert steps < 4 * MEMBER // 1000  # one step for many lines: decompression alone takes one for 8 KB


def test_lines_among_blank_ones_keep_their_numbers(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf\n" + b"\n" * 2_000_000 + b"  a\r\n" + b" \r\n" * 1_000_000 + b"b" * 3_000_000 + b"\n\n \nc"
    for content in (text, gzip.compress(text[:99]) + gzip.compress(text[99:])):
        found = [(int(place.split()[1]), line[:1], len(line)) for place, line in lines_of(tmp_path, content)]
        assert found == [(2_000_002, "a", 1), (3_000_003, "b", 3_000_000), (3_000_006, "c", 1)]


@pytest.mark.parametrize("beginning", [b"x", b" ", b"\r", b"\x00", b"[x", b'{"Items": [ ', b'["a'])
def test_a_packed_line_of_10_gb_is_refused_after_8_mb(tmp_path: Path, beginning: bytes) -> None:
    packed = gzip.compress(beginning) + gzip.compress(beginning[-1:] * 2**24) * 640
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgument, match=r"1 of items\.jsonl is longer than"):
            lines_of(tmp_path, packed)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


def test_wrong_lines_are_read_up_to_a_thousand(operator: Operator) -> None:
    done = run(operator, "import", "--dry-run", given=gzip.compress(b"x\n" * MEMBER))
    assert "1000 of the first 1000 lines of stdin cannot be imported" in done.stderr


def test_a_line_with_too_many_members_is_refused_before_it_is_read(operator: Operator) -> None:
    line = f'{{"pk": "deploy#one#a", "sk": "1", "l": [{"[]," * 2_000_000}[]]}}'
    assert "line 1 of stdin: the item has more than 250000 members" in run(operator, "import", given=line).stderr


def test_a_pipe_by_name_and_a_dash_are_read(operator: Operator) -> None:
    (operator.folder / "items.jsonl").write_text(lines(*ITEMS))
    for words in ("import <(cat items.jsonl)", "import - < items.jsonl", "import /dev/stdin < items.jsonl"):
        assert shell(operator, words) == (0, "4 items imported\n", "")
    assert shell(operator, "export - 2>/dev/null")[1].count("\n") == 4


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("import 0>other", 2, "ddb-mcp: stdin cannot be read: bad file descriptor."),
        ("import - 0>other", 2, "ddb-mcp: stdin cannot be read: bad file descriptor."),
        ("call put - 0>other", 1, "ddb-mcp: stdin: Bad file descriptor"),
        ("import /dev/mem0", 2, "ddb-mcp: /dev/mem0 cannot be read: no such file or directory."),
        ("export >&-", 1, "ddb-mcp: stdout: Bad file descriptor"),
        ("export .", 2, "ddb-mcp: . already exists."),
        ("export /dev/stdout", 2, "ddb-mcp: /dev/stdout already exists."),
        ("export pipe", 2, "ddb-mcp: pipe already exists."),
        ("export link", 2, "ddb-mcp: link already exists."),
        ("export large", 1, "ddb-mcp: large: File too large"),
        ("export large.gz", 1, "ddb-mcp: large.gz: File too large"),
        ("import < items.jsonl", 1, "ddb-mcp: {folder}: File too large"),
    ],
)
def test_each_error_names_its_file(filled: Operator, words: str, code: int, said: str) -> None:
    os.mkfifo(filled.folder / "pipe")
    (filled.folder / "link").symlink_to("nowhere")
    limit = ""
    if "large" in said:
        (filled.folder / "items.jsonl").write_text(lines({**ITEMS[0], "x": {"S": os.urandom(150_000).hex()}}))
        assert run(filled, "import", "items.jsonl").returncode == 0
        limit = "ulimit -f 100; "
    exit_code, out, errors = shell(filled, words, before=limit)
    assert (exit_code, out) == (code, "")
    assert said.format(folder=filled.folder) in errors
    kept = {".local", "items.sqlite3", "items.sqlite3-shm", "items.sqlite3-wal", "items.jsonl", "link", "pipe", "other"}
    assert set(os.listdir(filled.folder)) <= kept


def shell(operator: Operator, words: str, before: str = "") -> tuple[int, str, str]:
    """The exit code and output of `ddb-mcp WORDS`, which bash reads."""
    environment = {**operator.environment, **OWN, "TMPDIR": str(operator.folder)}
    line = f"{before}exec {shlex.quote(DDB_MCP)} {words}"
    done = subprocess.run(
        ["bash", "-c", line], env=environment, cwd=operator.folder, capture_output=True, text=True, timeout=300
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("replaces", [False, True])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, replaces: bool) -> None:
    path = tmp_path / ("x" * 250)
    with suppress(InvalidArgument), write_whole_file(path, replaces=replaces) as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == (b"ours" if replaces else b"theirs")
    assert len(os.listdir(tmp_path)) == 1
