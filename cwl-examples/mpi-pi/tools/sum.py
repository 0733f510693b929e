"""Add up the parts: the share of the square that the circle covers gives pi.

sum.py RADIUS part-0.json ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(radius: int, parts: list[Path]) -> None:
    counted = [json.loads(part.read_text()) for part in parts]
    assert sorted(c["part"] for c in counted) == list(range(counted[0]["of"])), "there are parts missing"
    points = 1 + 4 * radius + 4 * sum(c["points"] for c in counted)
    result = {"radius": radius, "points": points, "pi": round(points / radius**2, 10)}
    Path("pi.json").write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), [Path(p) for p in sys.argv[2:]])
