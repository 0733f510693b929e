"""How large is the genome, and is it one or a mixture of two? Read it off the spectrum of k-mers.

    analysis.py [--sample NAME] COUNTS.json ...

NAME.model.json comes out, and NAME.log.

Reads cover each place of a genome about equally often, so the k-mers of a genome occur about c times each (Poisson);
those that only one of two variants in a sample has, c/2 times; those with a sequencing error, once (or, seldom, more
often: geometric). The shares of the three kinds, and c, are fitted by expectation maximisation; the error bar is a
parametric bootstrap's. All in plain Python: the GPU that the step asks for is only named in the log.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

Spectrum = dict[int, int]
"""How many distinct k-mers occur so many times."""

BOOTSTRAPS = 400
ERROR_STOPS = 0.98  # chance that a k-mer with an error occurs no further time


@dataclass(frozen=True)
class Fit:
    """The shares of errors, of one of two variants and of the whole sample in the distinct k-mers; the coverage c."""

    errors: float
    half: float
    full: float
    coverage: float

    def parts(self, times: int) -> tuple[float, float, float]:
        """The share of distinct k-mers that are of each kind and occur so many times."""
        return (
            self.errors * ERROR_STOPS * (1 - ERROR_STOPS) ** (times - 1),
            self.half * poisson(times, self.coverage / 2),
            self.full * poisson(times, self.coverage),
        )

    def likelihood(self, spectrum: Spectrum) -> float:
        return sum(n * math.log(sum(self.parts(times)) + 1e-300) for times, n in spectrum.items())

    def genome_size(self, spectrum: Spectrum) -> float:
        """All k-mers that are no errors, divided by how often each is covered."""
        good = sum(n * t * (1 - self.parts(t)[0] / (sum(self.parts(t)) + 1e-300)) for t, n in spectrum.items())
        return good / self.coverage


def poisson(times: int, mean: float) -> float:
    return math.exp(times * math.log(mean) - mean - math.lgamma(times + 1))


def fit(spectrum: Spectrum, start: Fit, rounds: int = 60) -> Fit:
    """Expectation maximisation from `start`; a share that is 0 there stays 0."""
    total = sum(spectrum.values())
    now = start
    for _ in range(rounds):
        weights = [0.0, 0.0, 0.0]
        seen = expected = 0.0
        for times, n in spectrum.items():
            parts = now.parts(times)
            whole = sum(parts) + 1e-300
            errors, half, full = (n * part / whole for part in parts)
            weights[0] += errors
            weights[1] += half
            weights[2] += full
            seen += times * (half + full)
            expected += half / 2 + full
        now = Fit(weights[0] / total, weights[1] / total, weights[2] / total, seen / expected)
    return now


def best_fit(spectrum: Spectrum, k: int) -> Fit:
    """The better of one genome and a mixture of two variants, by the Bayesian information criterion.

    Neighbours among the k-mers share their reads, so k of them count as one observation.
    """
    peak = max((t for t in spectrum if t > 3), key=lambda t: (spectrum[t], t), default=2)
    one = fit(spectrum, Fit(0.3, 0.0, 0.7, peak))
    two = max(
        (fit(spectrum, Fit(0.2, half, 0.8 - half, c)) for half in (0.2, 0.5) for c in (peak, 2 * peak)),
        key=lambda f: f.likelihood(spectrum),
    )
    gain = (two.likelihood(spectrum) - one.likelihood(spectrum)) / k
    return two if gain > math.log(sum(spectrum.values())) else one


def bootstrap(best: Fit, spectrum: Spectrum) -> list[float]:
    """Genome sizes of samples drawn from the fitted model."""
    rng = random.Random(1)
    times = range(1, 2 * max(spectrum) + 1)
    weights = [sum(best.parts(t)) for t in times]
    sizes = []
    for _ in range(BOOTSTRAPS):
        drawn = Counter(rng.choices(times, weights=weights, k=sum(spectrum.values())))
        sizes.append(fit(drawn, best, rounds=10).genome_size(drawn))
    return sorted(sizes)


def main(sample: str | None, paths: list[Path]) -> None:
    words: Counter[str] = Counter()
    gc: Counter[int] = Counter()
    reads = bases = k = 0
    for path in paths:
        counts = json.loads(path.read_text())
        sample = sample or counts["sample"]
        k = counts["k"]
        reads += counts["reads"]
        bases += counts["bases"]
        words.update(counts["kmers"])
        gc.update({int(percent): n for percent, n in counts["gc_percent"].items()})
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
    Path(f"{sample}.log").write_text(f"{sample}: CUDA_VISIBLE_DEVICES is {gpus}\n")
    spectrum = dict(sorted(Counter(words.values()).items()))
    best = best_fit(spectrum, k)
    sizes = bootstrap(best, spectrum)
    distinct = sum(spectrum.values())
    model = {
        "sample": sample,
        "k": k,
        "reads": reads,
        "bases": bases,
        "mixture": best.half > 0,
        "coverage": round(best.coverage, 2),
        "shares": {"errors": round(best.errors, 4), "half": round(best.half, 4), "full": round(best.full, 4)},
        "genome_size": round(best.genome_size(spectrum)),
        "genome_size_95": [round(sizes[len(sizes) // 40]), round(sizes[-1 - len(sizes) // 40])],
        "gc_percent": {str(percent): gc[percent] for percent in sorted(gc)},
        "spectrum": {str(times): n for times, n in spectrum.items()},
        "fitted": {
            str(times): dict(
                zip(("errors", "half", "full"), (round(distinct * p, 3) for p in best.parts(times)), strict=True)
            )
            for times in range(1, max(spectrum) + 1)
        },
    }
    Path(f"{sample}.model.json").write_text(json.dumps(model, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample")
    parser.add_argument("counts", type=Path, nargs="+")
    arguments = parser.parse_args()
    main(arguments.sample, arguments.counts)
