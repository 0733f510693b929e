"""How far jobs deviate from what was expected of them, and what that makes of the jobs that still run.

The factor by which a job takes longer than expected is held to be lognormal with mean 1. As long as no job deviates
there is none, and everything is expected as it was planned.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import exp, inf, log, sqrt
from statistics import NormalDist

from streamflow_fluxop.model import Step
from streamflow_fluxop.moments import Moment, normal

ASSUMED = 0.3
"""Standard deviation of the factor, before there are jobs to learn it from, where no step states one."""

SMALL, LARGE = 0.1, 0.15
"""Below the first spread jobs keep better to the plan's places, above the second one better not; between them, as
before."""

WEIGHT = 4
"""Jobs that say as much as the assumption does."""

NONE = 0.01
"""Factors that are nearer to 1 are no deviation."""

LONGEST = 4.0
"""Deviations above the mean, on the logarithmic scale, up to which the formula for what remains is computed."""


class Deviation:
    """Learns from the jobs that end.

    Args:
        steps: of the plan; what they state is held to be true until jobs tell otherwise.

    Attributes:
        spread: standard deviation of the factor; 0 as long as nothing deviates.
        large: whether jobs had better not keep to the places that the plan has for them.
    """

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.spread = 0.0
        self.large = False
        stated = _stated(steps)
        self._prior = stated or ASSUMED
        self._unbiased = stated or (SMALL + LARGE) / 2
        self._jobs = 0
        self._squares = 0.0

    def learn(self, factor: float) -> None:
        """Note that a job took so many times as long as expected."""
        self._jobs += 1
        self._squares += min(factor - 1, 3.0) ** 2
        if self.spread or abs(factor - 1) > NONE:
            self.spread = self._learnt(self._prior)
            self.large = self._learnt(self._unbiased) > (SMALL if self.large else LARGE)

    def _learnt(self, prior: float) -> float:
        return sqrt((WEIGHT * prior**2 + self._squares) / (WEIGHT + self._jobs))

    def of(self, step: Step) -> float:
        """The spread of a step's jobs: as stated for them, else as learnt from all; none until a job deviates."""
        if not self.spread:
            return 0.0
        stated = step.duration
        return stated.spread / stated.seconds if stated.spread and stated.seconds else self.spread


def _stated(steps: Iterable[Step]) -> float:
    """The spread that steps state, in the mean of their work; 0 where none does."""
    seconds = squares = 0.0
    for step in steps:
        if step.duration.spread and step.duration.seconds:
            seconds += step.width * step.duration.seconds
            squares += step.width * step.duration.spread**2 / step.duration.seconds
    return sqrt(squares / seconds) if seconds else 0.0


def length(seconds: float, spread: float, jobs: int = 1) -> Moment:
    """What the longest of so many jobs will take of which each is expected to take so many seconds."""
    if not spread:
        return seconds, 0.0
    sigma = _sigma(spread)
    longest = exp(sigma * of_many(jobs) - sigma * sigma / 2 * (1 - 1 / jobs)) if jobs > 1 else 1.0
    return seconds * longest, (spread * seconds) ** 2


def left(seconds: float, spread: float, done: float, jobs: int = 1) -> Moment:
    """The same from now on, of jobs that have run for `done` seconds."""
    if not spread or not seconds:
        return max(0.0, seconds - done), 0.0
    mean, variance = _left(round(done / seconds, 2), round(spread, 2))
    return seconds * (mean + sqrt(variance) * of_many(jobs)), seconds * seconds * variance


@lru_cache(1 << 12)
def _sigma(spread: float) -> float:
    """Standard deviation of the logarithm."""
    return sqrt(log(1 + spread * spread))


@lru_cache(1 << 12)
def _left(done: float, spread: float) -> Moment:
    """Mean and variance of X - t where X > t, for a lognormal X with mean 1."""
    sigma = _sigma(spread)
    if not sigma:
        return max(0.0, 1 - done), 0.0
    z = (log(done) / sigma if done > 0 else -inf) + sigma / 2  # of a standard normal
    if z > LONGEST:  # beyond, it goes on as it does there
        scale = done
        done = exp(sigma * LONGEST - sigma * sigma / 2)
        mean, variance = _left_at(LONGEST, done, sigma)
        return mean * scale / done, variance * (scale / done) ** 2
    return _left_at(z, done, sigma)


def _left_at(z: float, done: float, sigma: float) -> Moment:
    beyond = normal(-z)
    first = normal(sigma - z) / beyond
    second = exp(sigma * sigma) * normal(2 * sigma - z) / beyond
    return first - done, max(0.0, second - first * first)


@lru_cache(1 << 12)
def of_many(jobs: int) -> float:
    """By how many deviations the largest of so many normal values is above the mean (Blom 1958)."""
    return NormalDist().inv_cdf((jobs - 0.375) / (jobs + 0.25)) if jobs > 1 else 0.0
