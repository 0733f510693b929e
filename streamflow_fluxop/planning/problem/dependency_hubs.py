"""Gates: where many steps wait for the same many, one place where they meet.

A thousand steps that all wait for a thousand others are a million dependencies. With a gate between them, a step of
the instance that takes no time and needs no MiniCluster, they are two thousand, and no plan has to be another. Steps
wait for a gate in place of what they have in common: all that they wait for, or a part of it.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import NamedTuple

MANY = 100_000
"""Dependencies from which gates are made."""
WORTH = 8
"""Dependencies that a gate has to save."""

Pairs = tuple[tuple[int, bool], ...]
"""The number of each step, or gate, that is waited for, and whether job by job."""


class Part(NamedTuple):
    """A part of what steps wait for. `numbers` are the steps in `pairs`; `plain`: none of them job by job."""

    pairs: Pairs
    numbers: frozenset[int]
    plain: bool


Waits = tuple[Part, ...]
"""All that a step waits for; what several steps have in common are the same objects."""


def without_gates(waits: list[Waits]) -> list[Pairs]:
    """What each step waits for."""
    return [parts[0].pairs if len(parts) == 1 else tuple(chain(*(p.pairs for p in parts))) for parts in waits]


def with_gates(waits: list[Waits]) -> list[Pairs]:
    """What each step waits for, and after the steps what each gate waits for; each gate after those in its pairs."""
    steps = Counter(map(id, waits))
    lists = {id(parts): parts for parts in waits}
    uses = Counter(id(part) for parts in lists.values() for part in parts)
    gates: list[Pairs] = []
    of_part: dict[int, Pairs] = {}
    of_list: dict[int, Pairs] = {}

    def gate(pairs: Pairs, users: int) -> Pairs:
        if (len(pairs) - 1) * (users - 1) < WORTH:
            return pairs
        gates.append(pairs)
        return ((len(waits) + len(gates) - 1, False),)

    for key, parts in lists.items():
        pairs: list[tuple[int, bool]] = []
        for part in parts:
            if part.plain and uses[id(part)] > 1:
                if id(part) not in of_part:
                    of_part[id(part)] = gate(part.pairs, uses[id(part)])
                pairs += of_part[id(part)]
            else:
                pairs += part.pairs
        plain = steps[key] > 1 and all(part.plain for part in parts)
        of_list[key] = gate(tuple(pairs), steps[key]) if plain else tuple(pairs)
    return [*(of_list[id(parts)] for parts in waits), *gates]
