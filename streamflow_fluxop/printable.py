"""Text of jobs, documents and messages as a terminal, a log or a page may show it."""

from __future__ import annotations

import re

# C0 but for line feed and tab, DEL, C1; what changes the direction of text or is a line of its own; lone surrogates
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def printable(text: str) -> str:
    r"""The text with control characters as Python writes them: ``\x1b`` for an escape; lines and tabs stay.

    Such characters could move the cursor, change a terminal's title, hide a line or reverse its order.
    """
    return text if text.isascii() and text.isprintable() else _UNSEEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
