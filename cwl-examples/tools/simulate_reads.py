"""How the reads of the examples were made: short plasmids, sequenced with errors; from a seed, so no two runs differ.

python3 cwl-examples/tools/simulate_reads.py
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent
READ_LENGTH = 75


def plasmid(rng: random.Random, length: int, gc: float) -> str:
    """A random circular genome."""
    return "".join(rng.choices("GCAT", weights=[gc, gc, 1 - gc, 1 - gc], k=length))


def variant(rng: random.Random, genome: str, differing: float) -> str:
    """The genome with that share of its bases exchanged."""
    return "".join(rng.choice("ACGT".replace(base, "")) if rng.random() < differing else base for base in genome)


def qualities(rng: random.Random, length: int) -> list[int]:
    """Phred scores in four bins, as sequencers report them: good at first, falling off towards the end."""
    falls = int(rng.triangular(0, 1.6 * length, 1.1 * length))
    return [
        2 if i > falls + 12 else 12 if i > falls else 23 if rng.random() < 0.2 + 0.4 * i / length else 37
        for i in range(length)
    ]


def read(rng: random.Random, name: str, genomes: Sequence[str], barcode: str = "") -> str:
    """One FASTQ record: a piece of one of the genomes, from either strand."""
    genome = rng.choice(genomes)
    start = rng.randrange(len(genome))
    piece = (genome + genome[:READ_LENGTH])[start : start + READ_LENGTH]
    if rng.random() < 0.5:
        piece = piece[::-1].translate(str.maketrans("ACGT", "TGCA"))
    piece = barcode + piece
    scores = qualities(rng, len(piece))
    bases = [
        rng.choice("ACGT".replace(base, "")) if rng.random() < 10 ** (-scores[i] / 10) else base
        for i, base in enumerate(piece)
    ]
    return f"@{name}\n{''.join(bases)}\n+\n{''.join(chr(33 + q) for q in scores)}\n"


def write(path: Path, records: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(records).encode()
    path.write_bytes(gzip.compress(text, mtime=0))
    print(f"{path.relative_to(EXAMPLES)}: {len(records)} reads, {path.stat().st_size} bytes")


def main() -> None:
    rng = random.Random(20230315)
    one = plasmid(rng, 2000, 0.42)
    other = plasmid(rng, 1500, 0.55)
    mixture = [other, variant(rng, other, 0.02)]
    for sample, genomes, reads in (("plasmid", [one], 540), ("mixture", mixture, 720)):
        records = [read(rng, f"{sample}:{i}", genomes) for i in range(reads)]
        write(EXAMPLES / "two-samples/reads" / f"{sample}.fastq.gz", records)

    molecules: list[tuple[str, str]] = []
    barcodes = [line.split()[1] for line in (EXAMPLES / "fan-out/reads/barcodes.tsv").read_text().splitlines()]
    for barcode, (length, gc) in zip(barcodes, ((1200, 0.38), (900, 0.5), (1000, 0.62)), strict=True):
        genome = plasmid(rng, length, gc)
        molecules += [(genome, barcode)] * (length // 3)
    rng.shuffle(molecules)
    pooled = [read(rng, f"run:{i}", [genome], barcode) for i, (genome, barcode) in enumerate(molecules)]
    write(EXAMPLES / "fan-out/reads/run.fastq.gz", pooled)

    genome = plasmid(rng, 2400, 0.47)
    for lane in range(1, 5):
        records = [read(rng, f"lane-{lane}:{i}", [genome]) for i in range(150)]
        write(EXAMPLES / "fan-in/reads" / f"lane-{lane}.fastq.gz", records)


if __name__ == "__main__":
    main()
