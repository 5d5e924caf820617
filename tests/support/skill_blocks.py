"""The fenced code blocks of the skill, and how each kind is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddb_mcp.server import skill
from tests.support.engines import NODE, NODE_MODULES, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_FENCED = re.compile(r"^```(.*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)

# The block is written to handler.js; this calls its handler with each event from standard input in turn.
_CALL_HANDLER = """
const { handler } = require(process.argv[1]);
const events = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
(async () => {
  const answers = [];
  for (const event of events) answers.push(await handler(event));
  process.stdout.write(JSON.stringify(answers));
})();
"""


# The block is written to app.py; this calls its functions with the arguments from standard input.
_CALL_FUNCTIONS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import app

def call(function, arguments):
    try:
        return getattr(app, function)(**arguments)
    except app.ClientError as error:
        return {"error": app.codes_of(error)}

print(json.dumps([call(*pair) for entry in json.load(sys.stdin) for pair in entry.items()], default=str))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of the served skill, with the heading that it stands under."""

    language: str
    code: str
    heading: str

    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """The tool calls of a `jsonl` block: one line each, `{"<tool>": {<arguments>}}`."""
        calls = []
        for line in self.code.splitlines():
            ((tool, arguments),) = json.loads(line).items()
            calls.append((tool, arguments))
        return calls


def blocks(language: str | None = None) -> list[Block]:
    """The skill's blocks in order, all or those of one language."""
    text = skill.load_skill().text
    found = []
    for match in _FENCED.finditer(text):
        heading = re.findall(r"^## (.*)$", text[: match.start()], re.MULTILINE)[-1]
        found.append(Block(match[1], match[2], heading))
    return [block for block in found if language in (None, block.language)]


def run_bash(code: str, env: Mapping[str, str]) -> str:
    """Run `code` as an agent's shell would, stopping at the first failure, and return its standard output.

    Raises AssertionError with both streams if it fails.
    """
    return _run(["bash", "-euo", "pipefail", "-c", code], env, "")


def run_handler(code: str, events: Sequence[Mapping[str, Any]], env: Mapping[str, str], folder: Path) -> list[Any]:
    """Load `code` as a CommonJS Lambda function under Node with the AWS SDK; return its answer to each event."""
    require("node", "engines")
    function = folder / "handler.js"
    function.write_text(code)
    env = {**env, "NODE_PATH": str(NODE_MODULES)}
    answers: list[Any] = json.loads(_run([str(NODE), "-e", _CALL_HANDLER, str(function)], env, json.dumps(events)))
    return answers


def run_functions(code: str, calls: Sequence[Mapping[str, Any]], env: Mapping[str, str], folder: Path) -> list[Any]:
    """Load `code` as a Python module; return what each call, `{function: arguments}`, returns, or its error's codes."""
    (folder / "app.py").write_text(code)
    command = [sys.executable, "-c", _CALL_FUNCTIONS, str(folder)]
    answers: list[Any] = json.loads(_run(command, env, json.dumps(calls)))
    return answers


def _run(command: list[str], env: Mapping[str, str], given: str) -> str:
    done = subprocess.run(command, env=dict(env), input=given, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
