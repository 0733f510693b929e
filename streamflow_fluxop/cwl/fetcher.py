"""Fetches CWL documents without a look-up that isn't needed.

cwl-utils checks every link with a HEAD request, and among the links are the URIs of namespaces: an `https:` namespace
costs seconds where there is no network. StreamFlow, which parses the same documents right after us, does the
checking; what we fetch is only what we read.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from schema_salad.fetcher import DefaultFetcher


class Fetcher(DefaultFetcher):  # type: ignore[misc]
    """Reads files, and documents on the web when they are asked for; believes links to the web to be right."""

    def __init__(self) -> None:
        super().__init__({}, None)

    def check_exists(self, url: str) -> bool:
        """Whether there is such a file; of what is not a file, always."""
        return urlsplit(url).scheme != "file" or bool(super().check_exists(url))

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        """The text of a file or of a document on the web.

        Raises:
            schema_salad.exceptions.ValidationException: there is none.
        """
        if urlsplit(url).scheme in ("http", "https"):
            return str(_web().fetch_text(url, content_types))
        return str(super().fetch_text(url, content_types))


def _web() -> Any:
    """cwl-utils' own fetcher, with its cache on disk."""
    from cwl_utils.parser.cwl_v1_2 import LoadingOptions

    return LoadingOptions().fetcher
