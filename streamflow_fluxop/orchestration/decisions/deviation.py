"""How far jobs deviate from what was expected of them, and what that makes of the others.

Two things are learnt from the jobs that end: by which factor durations are off, of a step and of all, and how far jobs
spread around that. The factor of one job is held to be lognormal with mean 1. As long as no job deviates there is
neither, and everything is expected as it was planned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, log, sqrt
from statistics import NormalDist

from streamflow_fluxop.model import Step
from streamflow_fluxop.normal_times import Moment, normal

ASSUMED = 0.3
"""Standard deviation of the factor, before there are jobs to learn it from, where no step states one."""

SMALL, LARGE = 0.1, 0.15
"""Below the first spread jobs keep better to the plan's places, above the second one better not; between them, as
before."""

WEIGHT = 4
"""Jobs that say as much as the assumption does."""

NONE = 0.01
"""Factors that are nearer to 1 are no deviation."""

LEAST = 1e-4
"""Factors below it count as that: a logarithm needs a limit."""

GOOD, BAD, OFTEN_BAD = 0.1, 2.0, 0.2
"""Estimates are either good, and off by so much on the logarithmic scale (standard deviation), or mere guesses; and how
often they are guesses."""

WIDEST = 1.5
"""Spreads above it say no more: expected times would be all tail."""

LONGEST = 4.0
"""Deviations above the mean, on the logarithmic scale, up to which the formula for what remains is computed."""


@dataclass(slots=True)
class _Sample:
    """Logarithms of factors: how many, and their first two moments."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, x: float, n: int = 1) -> None:
        """Add one; or, with n = -1, take it back."""
        self.n += n
        self.total += n * x
        self.squares += n * x * x

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def scatter(self) -> float:
        """Sum of the squared distances from the mean."""
        return max(0.0, self.squares - self.total * self.total / self.n) if self.n else 0.0


class Deviation:
    """Learns from the jobs that end.

    Args:
        steps: of the plan; what they state is held to be true until jobs tell otherwise.

    Attributes:
        spread: standard deviation of the factor; 0 as long as nothing deviates.
        large: whether jobs had better not keep to the places that the plan has for them.
        jobs: how many have ended.
        common: the factor by which jobs of steps are off of which none is over yet.
    """

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.spread = 0.0
        self.large = False
        stated = _stated(steps)
        self._prior = stated or ASSUMED
        self._unbiased = stated or (SMALL + LARGE) / 2
        self._steps: dict[str, _Sample] = {}
        self._factors: dict[str, float] = {}
        self._means = _Sample()  # of the steps' means
        self._alone = _Sample()  # of steps with one job so far
        self._within = _Sample()  # distances of the others from their steps' means: their number less one a step
        self.common = 1.0
        self.jobs = 0

    def learn(self, step: str, factor: float) -> None:
        """Note that a job of a step took so many times as long as was planned."""
        self.jobs += 1
        x = log(max(factor, LEAST))
        sample = self._steps.setdefault(step, _Sample())
        if sample.n:
            self._means.add(sample.mean, -1)
        if sample.n == 1:
            self._alone.add(sample.mean, -1)
        elif sample.n:
            self._within.n -= sample.n - 1
            self._within.squares -= sample.scatter
        sample.add(x)
        self._means.add(sample.mean)
        if sample.n == 1:
            self._alone.add(x)
        else:
            self._within.n += sample.n - 1
            self._within.squares += sample.scatter
        if self.spread or abs(factor - 1) > NONE:
            self._learn_factors(step, sample)
            self.spread = self._learnt(self._prior)
            self.large = self._learnt(self._unbiased) > (SMALL if self.large else LARGE)

    def factor(self, step: str) -> float:
        """By how much a step's jobs are expected to take longer than planned; 1 until a job deviates."""
        return self._factors.get(step, self.common)

    def of(self, step: Step) -> float:
        """The spread of a step's jobs: as stated for them, else as learnt from all; none until a job deviates."""
        if not self.spread:
            return 0.0
        stated = step.duration
        return stated.spread / stated.seconds if stated.spread and stated.seconds else self.spread

    def _learnt(self, prior: float) -> float:
        """The spread, by what jobs show: around their step's mean, or around what is common where it has one job."""
        alone, common = self._alone, log(self.common)
        apart = alone.squares - 2 * common * alone.total + alone.n * common**2
        variance = (WEIGHT * log(1 + prior**2) + self._within.squares + apart) / (WEIGHT + self._within.n + alone.n)
        return min(WIDEST, sqrt(exp(variance) - 1))

    def _learn_factors(self, step: str, sample: _Sample) -> None:
        variance = log(1 + (self.spread or self._prior) ** 2)
        between = (WEIGHT * log(1 + self._prior**2) + self._means.scatter) / (WEIGHT + self._means.n - 1)
        common = _posterior(self._means.mean, between / self._means.n)
        self.common = exp(common)
        own = 1 / (1 + variance / (sample.n * between))  # how much of it is the step's own
        self._factors[step] = exp(own * sample.mean + (1 - own) * common)


def _posterior(mean: float, variance: float) -> float:
    """What to expect where the mean of what was seen has this variance, and estimates are either good or guesses."""
    weights, means = [], []
    for share, deviation in ((1 - OFTEN_BAD, GOOD), (OFTEN_BAD, BAD)):
        total = deviation**2 + variance
        weights.append(share * NormalDist(0, sqrt(total)).pdf(mean))
        means.append(mean * deviation**2 / total)
    return sum(w * m for w, m in zip(weights, means, strict=True)) / sum(weights) if sum(weights) else mean


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
