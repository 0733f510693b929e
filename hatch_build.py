"""README.md for a package index: its links and pictures lead into the repository, where its address is known.

The address is `Repository` of `[project.urls]`. Without it a link is its text alone, a picture is left out, and a line
says where the files are that a wheel brings along.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
_TO_FILES = """The files that are named here are in the repository, and in `share/doc/streamflow-fluxop` of an
environment that has the package.
"""


class ReadmeHook(MetadataHookInterface):
    """Sets the field `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = (metadata.get("urls") or {}).get("Repository")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme(text, address)}


def readme(text: str, address: str | None) -> str:
    """`text` with links that need no other file beside it."""
    if address:
        base = address.rstrip("/")
        return _LINK.sub(lambda m: f"{m[1]}[{m[2]}]({base}/{'raw' if m[1] else 'blob'}/HEAD/{m[3]})", text)
    title, _, rest = text.partition("\n\n")
    return _LINK.sub(lambda m: "" if m[1] else m[2], f"{title}\n\n{rest}\n{_TO_FILES}")
