"""The end of what a process wrote, bounded in memory."""

from __future__ import annotations

from streamflow_fluxop.agent.wire.protocol import OUTPUT_KEPT


class Tail:
    """Keeps the last `limit` bytes of what is added.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = OUTPUT_KEPT) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.total = 0
        """Bytes added in all."""

    def add(self, data: bytes) -> None:
        """Append `data`; what is too much at the front goes."""
        self.total += len(data)
        self._kept += data[-self._limit :]
        if len(self._kept) > 2 * self._limit:  # not at every call: moving the bytes costs
            del self._kept[: -self._limit]

    @property
    def kept(self) -> bytes:
        """The last bytes, at most `limit`."""
        return bytes(self._kept[-self._limit :])

    @property
    def dropped(self) -> int:
        """How many bytes before them are gone."""
        return max(0, self.total - self._limit)
