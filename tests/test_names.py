"""One word, one thing: a reader who meets a class's name anywhere knows which one it is."""

import ast
from collections import defaultdict
from pathlib import Path

import streamflow_fluxop

ROOT = Path(streamflow_fluxop.__file__).parent


def test_public_classes_have_names_of_their_own():
    modules = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].add(str(path.relative_to(ROOT)))
    assert {name: sorted(paths) for name, paths in modules.items() if len(paths) > 1} == {}
