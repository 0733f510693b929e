"""Fetches CWL documents without a look-up that isn't needed, and without one that nobody asked for.

cwl-utils checks every link with a HEAD request, and among the links are the URIs of namespaces: an `https:` namespace
costs seconds where there is no network. StreamFlow, which parses the same documents right after us, does the
checking; what we fetch is only what we read.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import unquote, urlsplit

from schema_salad.fetcher import DefaultFetcher

from streamflow_fluxop.bounded import MIB, YAML_MOST, read_text, to_text
from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.source_location import shown
from streamflow_fluxop.errors import UserError

_PATIENCE = 60.0
"""Seconds that a document on the web may take."""


class Fetcher(DefaultFetcher):  # type: ignore[misc]
    """Reads regular files, and documents on the web where that is wanted; believes links to the web to be right.

    Args:
        web: whether documents on the web are read.
    """

    def __init__(self, *, web: bool = False) -> None:
        super().__init__({}, None)
        self._web = web
        self._texts: dict[str, str] = {}  # what was checked is what is read later

    def check_exists(self, url: str) -> bool:
        """Whether there is such a file; of what is not a file, always."""
        return urlsplit(url).scheme != "file" or bool(super().check_exists(url))

    def fetch_text(self, url: str, content_types: list[str] | None = None, most: int = YAML_MOST) -> str:
        """The text of a file or of a document on the web.

        Args:
            url: of it.
            content_types: not used.
            most: bytes that it may have.

        Raises:
            UnreadableCWL: there is none, it is not read, or it is too large.
        """
        if url not in self._texts:
            try:
                self._texts[url] = self._fetch(url, most)
            except UnreadableCWL:
                raise
            except UserError as error:
                raise UnreadableCWL(error.what, where=error.where, fix=error.fix) from None
        return self._texts[url]

    def _fetch(self, url: str, most: int) -> str:
        parts = urlsplit(url)
        if parts.scheme in ("", "file"):
            return read_text(unquote(parts.path), most, shown(url))
        if parts.scheme not in ("http", "https"):
            raise UnreadableCWL(f"can't be read: {parts.scheme}: is not read", where=url, fix="Use a file.")
        if not self._web:
            raise UnreadableCWL(
                "is on the web, where nothing is read unasked",
                where=url,
                fix="--web reads it; for runs, `plan: {web: true}` in the fleet's config. Or download it, and name "
                "the file.",
            )
        return to_text(_download(url, most), url)


def _download(url: str, most: int) -> bytes:
    import requests

    deadline = time.monotonic() + _PATIENCE
    content = bytearray()
    try:
        with requests.get(url, stream=True, timeout=(10, _PATIENCE)) as response:
            response.raise_for_status()
            for chunk in response.iter_content(2**16):
                content += chunk
                if len(content) > most:
                    raise UnreadableCWL(f"is larger than the {most // MIB} MiB that we read", where=url)
                if time.monotonic() > deadline:
                    raise UnreadableCWL(f"can't be read: it takes more than {_PATIENCE:g} s", where=url)
    except requests.RequestException as error:
        reason: Any = error.response.status_code if error.response is not None else type(error).__name__
        raise UnreadableCWL(f"can't be read: {reason}", where=url) from None
    return bytes(content)
