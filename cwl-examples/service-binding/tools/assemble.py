"""Put a genome together from the k-mers of its reads: walk from k-mer to k-mer as long as there is one way only.

assemble.py COUNTS.json          SAMPLE.fasta comes out
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SEEN_AT_LEAST = 3  # what is seen less often is an error of the sequencer
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def canonical(word: str) -> str:
    """The same for a word and for what stands opposite on the other strand."""
    return min(word, word[::-1].translate(COMPLEMENT))


def contigs(solid: set[str]) -> list[str]:
    """The longest pieces that can be read off without a choice (unitigs), each k-mer in one of them."""

    def after(word: str) -> list[str]:
        return [word[1:] + base for base in "ACGT" if canonical(word[1:] + base) in solid]

    def before(word: str) -> list[str]:
        return [base + word[:-1] for base in "ACGT" if canonical(base + word[:-1]) in solid]

    used: set[str] = set()

    def walk(word: str) -> str:
        """The bases that follow `word`."""
        bases = []
        while len(following := after(word)) == 1 and len(before(following[0])) == 1:
            word = following[0]
            if canonical(word) in used:
                break
            used.add(canonical(word))
            bases.append(word[-1])
        return "".join(bases)

    pieces = []
    for start in sorted(solid):
        if start not in used:
            used.add(start)
            forward = walk(start)
            backward = walk(start[::-1].translate(COMPLEMENT))
            pieces.append(backward[::-1].translate(COMPLEMENT) + start + forward)
    return sorted(pieces, key=lambda piece: (-len(piece), piece))


def main(path: Path) -> None:
    counts = json.loads(path.read_text())
    solid = {word for word, times in counts["kmers"].items() if times >= SEEN_AT_LEAST}
    pieces = contigs(solid)
    lines = [f">contig-{i} length={len(piece)}\n{piece}\n" for i, piece in enumerate(pieces, start=1)]
    Path(f"{counts['sample']}.fasta").write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
