"""The skill as it is served.

`skill/SKILL.md` is the only file served. What it includes (`auth.md`) is a source fragment: its text is already in the
served SKILL.md, nothing links to it, and a second copy would only be read twice.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ddb_mcp.core.errors import Misconfigured

_PACKAGE = Path(__file__).parents[1]
_INCLUDE = re.compile(r"\{\{include:(.*?)\}\}")


@dataclass(frozen=True)
class SkillFile:
    """One file of the skill with the text a client reads, and what the Skills extension says of it."""

    name: str
    text: str

    @cached_property
    def size(self) -> int:
        """Bytes of UTF-8."""
        return len(self.text.encode())

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the UTF-8 bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Skill:
    """The loaded skill: `front_matter` is SKILL.md's YAML header as a mapping, `files` lists every served file."""

    front_matter: dict[str, str]
    files: tuple[SkillFile, ...]

    @property
    def text(self) -> str:
        """SKILL.md, includes resolved."""
        return self.files[0].text


def load(folder: Path | None = None) -> Skill:
    """Reads the skill from `folder`, by default from the installed package or, in a checkout, from beside `src`.

    Raises:
        Misconfigured: SKILL.md, or a file that it includes, is missing or is no plain file name in the folder, or
            SKILL.md does not begin with front matter.
    """
    if folder is None:
        packaged = _PACKAGE / "skill"
        folder = packaged if packaged.is_dir() else _PACKAGE.parents[1] / "skill"
    text = _INCLUDE.sub(lambda match: _read(folder, match[1]).rstrip("\n"), _read(folder, "SKILL.md"))
    return Skill(_front_matter(text), (SkillFile("SKILL.md", text),))


def _read(folder: Path, name: str) -> str:
    try:
        if name in ("", ".", "..") or Path(name).name != name:
            raise FileNotFoundError(name)
        return (folder / name).read_text(encoding="utf-8")
    except OSError:
        raise Misconfigured(
            f"The skill is incomplete: {name!r} is no readable file in {folder}.", next="Install ddb-mcp again."
        ) from None


def _front_matter(text: str) -> dict[str, str]:
    """Our own SKILL.md keeps to `name: plain text` on one line, the part of YAML that needs no parser."""
    header = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if not header:
        raise Misconfigured("SKILL.md does not begin with front matter.", next="Install ddb-mcp again.")
    pairs = (line.partition(": ") for line in header[1].splitlines())
    return {name: value for name, _, value in pairs}
