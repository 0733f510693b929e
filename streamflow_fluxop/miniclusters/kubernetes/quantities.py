"""Kubernetes' quantities: `500m`, `2`, `8Gi`, `1e3`. No I/O."""

from __future__ import annotations

import re
from decimal import Decimal

MIB = 2**20

_UNITS = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3,
    **{s: 1000.0**n for n, s in enumerate("MGTPE", 2)},
    **{s + "i": 1024.0**n for n, s in enumerate("KMGTPE", 1)},
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(\w*)", re.ASCII)


def quantity(text: str) -> float:
    """A quantity as a number.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no quantity")
    return float(match[1]) * _UNITS[match[2]]


def times(text: str, count: int) -> str:
    """So many times a quantity, in the same unit.

    Raises:
        ValueError: it is none.
    """
    quantity(text)
    match = _QUANTITY.fullmatch(text.strip())
    assert match is not None
    return f"{Decimal(match[1]) * count:f}{match[2]}"


def exceeds(requested: str, limited: str) -> bool:
    """Whether of two lists, as messages on quotas have them (`cpu=4,memory=8Gi`), the first is more anywhere."""
    limits = dict(part.split("=", 1) for part in limited.split(",") if "=" in part)
    asked = dict(part.split("=", 1) for part in requested.split(",") if "=" in part)
    return any(quantity(v) > quantity(limits[k]) for k, v in asked.items() if k in limits)
