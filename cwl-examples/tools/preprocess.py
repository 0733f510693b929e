"""Cut the bad end off each read and drop the reads that are then too short; tell samples apart by their barcodes.

    preprocess.py READS.fastq[.gz] [BARCODES.tsv]

READS.fastq comes out; with barcodes, which the reads of each sample start with, SAMPLE.fastq for each line of the
table.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

QUALITY = 20
SHORTEST = 35
MISMATCHES = 1  # in a barcode


def fastq(path: Path) -> Iterator[tuple[str, str, str]]:
    """Name, bases and qualities of each read."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        while name := lines.readline().rstrip("\n"):
            bases, _, scores = (lines.readline().rstrip("\n") for _ in range(3))
            yield name, bases, scores


def good_length(scores: str) -> int:
    """Where to cut, as BWA does: there the sum of (threshold - quality) from the end on is largest."""
    best, total, cut = 0, 0, len(scores)
    for i in range(len(scores) - 1, -1, -1):
        total += QUALITY - (ord(scores[i]) - 33)
        if total < 0:
            break
        if total > best:
            best, cut = total, i
    return cut


def barcode_of(bases: str, barcodes: list[str]) -> str | None:
    """The barcode that a read starts with."""
    for barcode in barcodes:
        if sum(a != b for a, b in zip(bases, barcode, strict=False)) <= MISMATCHES:
            return barcode
    return None


def main(reads: Path, table: Path | None = None) -> None:
    name = reads.name.removesuffix(".gz").removesuffix(".fastq")
    samples = {"": name}  # by barcode
    if table:
        samples = {barcode: sample for sample, barcode in map(str.split, table.read_text().splitlines())}
    seen = kept = 0
    with ExitStack() as stack:
        files = {code: stack.enter_context(open(f"{sample}.fastq", "w")) for code, sample in samples.items()}
        for title, bases, scores in fastq(reads):
            seen += 1
            end = good_length(scores)
            barcode = barcode_of(bases, list(samples))
            if barcode is None:
                continue
            start = len(barcode)
            if end - start >= SHORTEST:
                kept += 1
                files[barcode].write(f"{title}\n{bases[start:end]}\n+\n{scores[start:end]}\n")
    print(f"{reads.name}: kept {kept} of {seen} reads", file=sys.stderr)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
