"""Hubs: where many steps wait for the same many, one place where they meet.

A thousand steps that all wait for a thousand others are a million dependencies. With a hub between them, a step of
the instance that takes no time and needs no MiniCluster, they are two thousand, and no plan has to be another. Steps
wait for a hub in place of what they have in common: all that they wait for, or a part of it.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import NamedTuple

MANY = 100_000
"""Dependencies from which hubs are made."""
WORTH = 8
"""Dependencies that a hub has to save."""

Pairs = tuple[tuple[int, bool], ...]
"""The number of each step, or hub, that is waited for, and whether job by job."""


class Part(NamedTuple):
    """A part of what steps wait for. `numbers` are the steps in `pairs`; `plain`: none of them job by job."""

    pairs: Pairs
    numbers: frozenset[int]
    plain: bool


Predecessors = tuple[Part, ...]
"""All that a step waits for; what several steps have in common are the same objects."""


def without_hubs(predecessors: list[Predecessors]) -> list[Pairs]:
    """What each step waits for."""
    return [parts[0].pairs if len(parts) == 1 else tuple(chain(*(p.pairs for p in parts))) for parts in predecessors]


def with_hubs(predecessors: list[Predecessors]) -> list[Pairs]:
    """What each step waits for, and after the steps what each hub waits for; each hub after those in its pairs."""
    steps = Counter(map(id, predecessors))
    lists = {id(parts): parts for parts in predecessors}
    uses = Counter(id(part) for parts in lists.values() for part in parts)
    hubs: list[Pairs] = []
    of_part: dict[int, Pairs] = {}
    of_list: dict[int, Pairs] = {}

    def hub(pairs: Pairs, users: int) -> Pairs:
        if (len(pairs) - 1) * (users - 1) < WORTH:
            return pairs
        hubs.append(pairs)
        return ((len(predecessors) + len(hubs) - 1, False),)

    for key, parts in lists.items():
        pairs: list[tuple[int, bool]] = []
        for part in parts:
            if part.plain and uses[id(part)] > 1:
                if id(part) not in of_part:
                    of_part[id(part)] = hub(part.pairs, uses[id(part)])
                pairs += of_part[id(part)]
            else:
                pairs += part.pairs
        plain = steps[key] > 1 and all(part.plain for part in parts)
        of_list[key] = hub(tuple(pairs), steps[key]) if plain else tuple(pairs)
    return [*(of_list[id(parts)] for parts in predecessors), *hubs]
