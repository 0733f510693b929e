#!/usr/bin/env python3
"""Count the points with whole coordinates in a quarter of a circle, and write part-P.json for each part P of the rows.

    pi RADIUS PARTS

Each process of a job does its share of the parts; Flux tells it which process of how many it is, and so do the
common launchers of MPI. Alone, it does all.
"""

from __future__ import annotations

import os
import sys
from math import isqrt
from pathlib import Path

LAUNCHERS = (
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI's mpirun
    ("PMI_RANK", "PMI_SIZE"),  # MPICH's and Intel's
)


def place() -> tuple[int, int]:
    """Which process this is, and of how many."""
    for rank, size in LAUNCHERS:
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def main(radius: int, parts: int) -> None:
    rank, size = place()
    for part in range(rank, parts, size):
        points = sum(isqrt(radius * radius - x * x) for x in range(1 + part, radius + 1, parts))
        Path(f"part-{part}.json").write_text(f'{{"part": {part}, "of": {parts}, "points": {points}}}\n')
    sys.stderr.write(f"process {rank} of {size}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
