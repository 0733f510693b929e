"""Count the k-mers (words of k bases, the same on both strands) of reads, and the G and C in each read.

postprocess.py TRIMMED.fastq COUNTS.json
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

K = 15
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def main(trimmed: Path, target: Path) -> None:
    reads = trimmed.read_text().splitlines()[1::4]
    words: Counter[str] = Counter()
    for read in reads:
        other_strand = read[::-1].translate(COMPLEMENT)
        for i in range(len(read) - K + 1):
            words[min(read[i : i + K], other_strand[len(read) - K - i : len(read) - i])] += 1
    gc = Counter(round(100 * (read.count("G") + read.count("C")) / len(read)) for read in reads)
    result = {
        "sample": trimmed.stem,
        "k": K,
        "reads": len(reads),
        "bases": sum(map(len, reads)),
        "gc_percent": {str(percent): gc[percent] for percent in sorted(gc)},
        "kmers": {word: words[word] for word in sorted(words)},
    }
    target.write_text(json.dumps(result, indent=0) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
