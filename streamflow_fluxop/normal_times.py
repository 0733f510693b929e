"""Times that are not certain: their means and variances, and those of the later of two."""

from __future__ import annotations

from math import erf, exp, pi, sqrt

FAR = 3.0
"""Of two times so many standard deviations apart, the later one is the maximum."""

Moment = tuple[float, float]
"""A time that is not certain: its mean, and its variance."""


def normal(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * (1 + erf(z / sqrt(2)))


def excess(a: Moment, b: Moment) -> float:
    """By how much the first of two independent times, if they are normal, is expected to be later than the second."""
    apart, spread = a[0] - b[0], a[1] + b[1]
    if _certain(apart, spread):
        return max(0.0, apart)
    p, density = _order(apart, spread)
    return apart * p + density


def later(a: Moment, b: Moment) -> Moment:
    """The maximum of two independent times (Clark: The greatest of a finite set of random variables, 1961)."""
    if a[0] < b[0]:
        a, b = b, a
    apart, spread = a[0] - b[0], a[1] + b[1]
    if _certain(apart, spread):
        return a
    p, density = _order(apart, spread)
    above = apart * p + density  # relative to b
    second = (apart * apart + a[1]) * p + b[1] * (1 - p) + apart * density
    return b[0] + above, max(0.0, second - above * above)


def _certain(apart: float, spread: float) -> bool:
    """Whether it is certain which of two times comes first, from their distance and the variance of that."""
    return apart * apart >= FAR * FAR * spread


def _order(apart: float, spread: float) -> tuple[float, float]:
    """How likely the first is the later one; and the density there, times the standard deviation of the distance."""
    theta = sqrt(spread)
    alpha = apart / theta
    return normal(alpha), theta * exp(-0.5 * alpha * alpha) / sqrt(2 * pi)
