"""How long MiniClusters take to come up and to go, as far as this run has shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from streamflow_fluxop.model import Flavour
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY


@dataclass
class _Observed:
    """Seconds that were seen, by flavour, beside those that were assumed."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seen: float = 0.0
    assumed: float = 0.0

    def add(self, flavour: str, seconds: float, assumed: float) -> None:
        self.seconds[flavour].append(seconds)
        self.seen += seconds
        self.assumed += assumed

    def mean(self, flavour: str) -> float | None:
        seconds = self.seconds.get(flavour)
        return sum(seconds) / len(seconds) if seconds else None

    @property
    def factor(self) -> float | None:
        return self.seen / self.assumed if self.assumed else None


class LeadTimes:
    """Expected bring-ups and tear-downs of each flavour, in seconds.

    The mean of those that were seen; before one was seen, what is configured, times the factor by which the other
    flavours were off, and, of a tear-down, by which bring-ups were.

    Args:
        flavours: by name, with what is configured.

    Attributes:
        version: counts the changes.
    """

    def __init__(self, flavours: Mapping[str, Flavour]) -> None:
        self._flavours = flavours
        self._bring_ups, self._tear_downs = _Observed(), _Observed()
        self._cache: dict[str, tuple[float, float]] = {}
        self.version = 0

    def brought_up(self, flavour: str, seconds: float) -> None:
        """Note that a MiniCluster of a flavour came up."""
        self._note(self._bring_ups, flavour, seconds, self._flavours[flavour].bring_up)

    def torn_down(self, flavour: str, seconds: float) -> None:
        """Note that a MiniCluster of a flavour is gone."""
        self._note(self._tear_downs, flavour, seconds, self._flavours[flavour].tear_down)

    def bring_up(self, flavour: str) -> float:
        """From asking for a MiniCluster until it takes jobs."""
        return self._of(flavour)[0]

    def tear_down(self, flavour: str) -> float:
        """From giving a MiniCluster up until it is gone."""
        return self._of(flavour)[1]

    def break_even(self, flavour: str) -> float:
        """Idleness that costs as much as going down and coming up again: price and size cancel out."""
        return max(1.0, sum(self._of(flavour)))

    def _note(self, observed: _Observed, flavour: str, seconds: float, assumed: float) -> None:
        observed.add(flavour, assumed if abs(seconds - assumed) < TINY else seconds, assumed)
        self._cache.clear()
        self.version += 1

    def _of(self, flavour: str) -> tuple[float, float]:
        if flavour not in self._cache:
            configured = self._flavours[flavour]
            ups, downs = self._bring_ups.factor, self._tear_downs.factor
            up, down = self._bring_ups.mean(flavour), self._tear_downs.mean(flavour)
            if up is None:
                up = configured.bring_up * (1.0 if ups is None else ups)
            if down is None:
                factor = downs if downs is not None else ups
                down = configured.tear_down * (1.0 if factor is None else factor)
            self._cache[flavour] = up, down
        return self._cache[flavour]
