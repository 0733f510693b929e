"""How many jobs a scatter makes, and what each of them gets (CWL 1.2, 4.3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any, Literal

from streamflow_fluxop.cwl.known_values import UNKNOWN, Port

Known = Literal["document", "inputs", "hint", "assumed"]
"""Where a number of jobs comes from, the surest first; `document`: there is no scatter."""

_SURENESS: tuple[Known, ...] = ("document", "inputs", "hint", "assumed")
_VALUES_AT_MOST = 200_000


def least_sure(*sources: Known) -> Known:
    """What is to be said of a product of numbers from these sources."""
    return max(sources, key=_SURENESS.index)


@dataclass(frozen=True)
class Scatter:
    """What one scattered step does with the executions of the process around it.

    Attributes:
        names: the inputs that it scatters over.
        nested: whether the outputs are nested arrays (`nested_crossproduct`).
        sizes: for each execution of the process around it, the length in each dimension.
        source: how the sizes are known.
        arrays: for each execution, the arrays that it scatters over, UNKNOWN where unknown.
        cross: whether each element of one array meets each of the others.
    """

    names: tuple[str, ...]
    nested: bool
    sizes: list[tuple[int, ...]]
    source: Known
    arrays: list[tuple[Any, ...]]
    cross: bool

    @cached_property
    def counts(self) -> list[int]:
        """The jobs for each execution of the process around it."""
        return [prod(size) for size in self.sizes]

    @cached_property
    def count(self) -> int:
        """All jobs together."""
        return sum(self.counts)

    def spread(self, ports: Mapping[str, Port], producers: frozenset[str]) -> dict[str, Port]:
        """The inputs of the jobs: an element each of what is scattered over, all of the rest.

        Args:
            ports: of the step, a value for each execution of the process around it.
            producers: the steps that have to be over before the first job starts.
        """
        return {name: self._spread_one(name, port, producers) for name, port in ports.items()}

    def _spread_one(self, name: str, port: Port, producers: frozenset[str]) -> Port:
        if name in self.names:
            index = self.names.index(name)
            return Port(lambda: self._elements(index), producers)
        return Port(
            lambda: [v for value, n in zip(port.values, self.counts, strict=True) for v in [value] * n], producers
        )

    def _elements(self, index: int) -> list[Any]:
        if self.count > _VALUES_AT_MOST:
            return [UNKNOWN] * self.count
        elements: list[Any] = []
        for arrays, size, count in zip(self.arrays, self.sizes, self.counts, strict=True):
            array = arrays[index]
            if not isinstance(array, list) or len(size) != (len(arrays) if self.cross else 1):
                elements += [UNKNOWN] * count
            elif self.cross:
                elements += [array[at[index]] for at in product(*map(range, size))]
            else:
                elements += array[:count] + [UNKNOWN] * (count - len(array))
        return elements

    def gather(self, port: Port) -> Port:
        """One array of the jobs' outputs for each execution of the process around the step."""

        def arrays() -> list[Any]:
            values, start, gathered = port.values, 0, []
            for size, count in zip(self.sizes, self.counts, strict=True):
                part = values[start : start + count]
                gathered.append(_nest(part, size) if self.nested else part)
                start += count
            return gathered

        return Port(arrays, port.producers)


def scatter(
    names: Sequence[str],
    method: str | None,
    ports: Mapping[str, Port],
    *,
    hint: int | None,
    assumed: int,
) -> Scatter:
    """Find out how wide a step scatters.

    Args:
        names: the inputs that it scatters over, at least one.
        method: `dotproduct` (also where absent), `nested_crossproduct` or `flat_crossproduct`.
        ports: the step's inputs.
        hint: the user's estimate of the jobs for one execution of the process around it.
        assumed: what to take where neither inputs nor hint tell: the length of one array.
    """
    cross = method in ("nested_crossproduct", "flat_crossproduct") and len(names) > 1
    arrays = list(zip(*(ports[name].values for name in names), strict=True))
    source: Known = "inputs"
    sizes: list[tuple[int, ...]] = []
    for values in arrays:
        lengths = [_length(v) for v in values]
        known = [n for n in lengths if n is not None]
        if cross and len(known) == len(lengths):
            sizes.append(tuple(known))
        elif not cross and known:
            sizes.append((max(known),))
        elif 0 in known:
            sizes.append((0,))
        elif hint is not None:
            sizes.append((hint,))
            source = least_sure(source, "hint")
        else:
            guesses = tuple(assumed if n is None else n for n in lengths)
            sizes.append(guesses if cross else (assumed,))
            source = "assumed"
    return Scatter(tuple(names), method == "nested_crossproduct", sizes, source, arrays, cross)


def _length(value: Any) -> int | None:
    if value is None:
        return 0  # StreamFlow gives the outputs of a scatter over null as empty arrays
    return len(value) if isinstance(value, list) else None


def _nest(values: list[Any], size: tuple[int, ...]) -> list[Any]:
    if len(size) < 2:
        return values
    step = prod(size[1:])
    return [_nest(values[i * step : (i + 1) * step], size[1:]) for i in range(size[0])]
