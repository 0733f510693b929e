"""How good an assembly is: how many pieces, how long, and how much of the reads they explain.

report.py COUNTS.json CONTIGS.fasta          SAMPLE.txt comes out
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def main(counts_path: Path, contigs_path: Path) -> None:
    counts = json.loads(counts_path.read_text())
    k, kmers = counts["k"], counts["kmers"]
    contigs = contigs_path.read_text().splitlines()[1::2]
    words = {contig[i : i + k] for contig in contigs for i in range(len(contig) - k + 1)}
    explained = sum(n for word, n in kmers.items() if word in words or word[::-1].translate(COMPLEMENT) in words)
    longest = contigs[0]
    # the ends of a circle that was cut open at one place overlap by k - 1 bases
    circular = longest[: k - 1] == longest[1 - k :]
    length = len(longest) - (k - 1) * circular
    gc = 100 * sum(longest[:length].count(base) for base in "GC") / length
    rows = {
        "sample": counts["sample"],
        "reads": counts["reads"],
        "contigs": len(contigs),
        "longest": f"{length} bases, {'circular' if circular else 'linear'}",
        "GC content": f"{gc:.1f} %",
        f"{k}-mers explained": f"{100 * explained / sum(kmers.values()):.1f} %",
    }
    Path(f"{counts['sample']}.txt").write_text("".join(f"{name:<18}{value}\n" for name, value in rows.items()))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
