"""The numbers that share out a search's effort."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SearchTuning:
    """How a search spends its effort.

    Attributes:
        proof_jobs: jobs up to which CP-SAT looks for a proof.
        comparison_jobs: jobs up to which all simple strategies are run; beyond, not those that can't be any good.
        many_jobs: jobs from which a schedule takes so long that hardly any can be tried.
        chains: starting states that a search walks from.
        short_chains: starting states that a short search walks from.
        short: schedules up to which a search is short.
        ruin_share: share of a search in which single jobs are moved (ruin and recreate).
        ruin_schedules: schedules for which there has to be time in that share, as the copy takes as long as one.
        ruin_hot: by how much worse a move of single jobs may make a schedule in the beginning, as a share of the goal.
        ruin_cold: by how much worse it may do so in the end.
    """

    proof_jobs: int = 60
    comparison_jobs: int = 3_000
    many_jobs: int = 20_000
    chains: int = 4
    short_chains: int = 2
    short: int = 2_000
    ruin_share: float = 0.4
    ruin_schedules: int = 4
    ruin_hot: float = 3e-4
    ruin_cold: float = 1.5e-5


TUNING = SearchTuning()
