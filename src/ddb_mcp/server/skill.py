"""The skill as it is served.

`skill/SKILL.md` is the only file served. Its include (`auth.md`) is a source fragment: its text is already in the
served SKILL.md, nothing links to it, and a second copy would only be read twice.
"""

import re
from pathlib import Path
from typing import NamedTuple

from ddb_mcp.core.errors import Misconfigured

_PACKAGE = Path(__file__).parents[1]
_INCLUDE = re.compile(r"\{\{include:(.*?)\}\}")


class Skill(NamedTuple):
    """The loaded skill.

    Attributes:
        front_matter: SKILL.md's YAML header as a mapping.
        text: SKILL.md, includes resolved.
    """

    front_matter: dict[str, str]
    text: str

    @property
    def size(self) -> int:
        """Return the size of the text in bytes of UTF-8."""
        return len(self.text.encode())


def load_skill(folder: Path | None = None) -> Skill:
    """Reads the skill from `folder`, by default from the installed package or, in a checkout, from beside `src`.

    Raises:
        Misconfigured: SKILL.md, or a file that it includes, is missing or is not a plain file name in the folder, or
            SKILL.md does not begin with front matter.
    """
    if folder is None:
        packaged = _PACKAGE / "skill"
        folder = packaged if packaged.is_dir() else _PACKAGE.parents[1] / "skill"
    text = _INCLUDE.sub(lambda match: _read(folder, match[1]).rstrip("\n"), _read(folder, "SKILL.md"))
    return Skill(_front_matter(text), text)


def _read(folder: Path, name: str) -> str:
    try:
        if name in ("", ".", "..") or Path(name).name != name:
            raise FileNotFoundError(name)
        return (folder / name).read_text(encoding="utf-8")
    except OSError:
        raise Misconfigured(
            f"The skill is incomplete: {name!r} is not a readable file in {folder}.", next="Install ddb-mcp again."
        ) from None


def _front_matter(text: str) -> dict[str, str]:
    """Parse lines of `name: plain text`, the part of YAML that our SKILL.md uses and that needs no parser."""
    header = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    if not header:
        raise Misconfigured("SKILL.md does not begin with front matter.", next="Install ddb-mcp again.")
    pairs = (line.partition(": ") for line in header[1].splitlines())
    return {name: value for name, _, value in pairs}
