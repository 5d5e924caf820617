"""Keys of other tenants, and keys that look like one's own: what no interface may let through."""

from __future__ import annotations


def foreign_keys(prefix: str) -> dict[str, str]:
    """Return partition keys that a deployment does not own, by what they try.

    Args:
        prefix: the deployment's, with `#` between its words and nothing after the last.
    """
    return {
        "another deployment": "deploy#zzz999#user#1",
        "another deployment, nothing after the joiner": "deploy#zzz999#",
        "another prefix": "deploy#zzz999",
        "a longer name": f"{prefix}4#user#1",
        "a shorter name": f"{prefix[:-1]}#user#1",
        "upper case": f"{prefix.upper()}#user#1",
        "one letter in upper case": f"{prefix.capitalize()}#user#1",
        "full-width joiner": f"{prefix}＃user#1",
        "full-width word": f"{prefix.replace('deploy', 'ｄｅｐｌｏｙ')}#user#1",
        "Cyrillic letter": f"{prefix.replace('o', 'о', 1)}#user#1",
        "combining character": f"{prefix}\u0301#user#1",
        "zero-width space after": f"{prefix}\u200b#user#1",
        "zero-width space before": f"\u200b{prefix}#user#1",
        "byte order mark": f"\ufeff{prefix}#user#1",
        "zero-width space inside": f"{prefix[:2]}\u200b{prefix[2:]}#user#1",
        "full-width last letter": f"{prefix[:-1]}{chr(ord(prefix[-1]) + 0xFEE0)}#user#1",
        "leading space": f" {prefix}#user#1",
        "leading line break": f"\n{prefix}#user#1",
        "space after the name": f"{prefix} #user#1",
        "leading NUL": f"\0{prefix}#user#1",
        "NUL after the name": f"{prefix}\0#user#1",
        "joiner twice": f"{prefix.replace('#', '##', 1)}#user#1",
        "another joiner": f"{prefix}_user",
        "the prefix alone": prefix,
        "nothing after the joiner": f"{prefix}#",
        "the first word": "deploy",
        "the first word and its joiner": "deploy#",
        "a joiner": "#",
        "NUL": "\0",
        "relative": "user#1",
    }
