"""The README that a package index shows has no link or picture that leads nowhere."""

import re
import subprocess
import sys
import zipfile

import pytest
from doc_commands import ROOT
from markdown_it import MarkdownIt

sys.path.insert(0, str(ROOT))
from hatch_build import readme


def targets(text):
    """Where links and pictures lead."""
    children = [c for t in MarkdownIt("commonmark").enable("table").parse(text) for c in t.children or []]
    return [str(c.attrs.get("href") or c.attrs.get("src")) for c in children if c.type in ("link_open", "image")]


@pytest.mark.parametrize("address", [None, "https://git.example.org/fluxop/"])
def test_links_and_pictures_need_no_file_beside_the_text(address):
    text = (ROOT / "README.md").read_text()
    shown = targets(readme(text, address))
    assert shown, "links to other projects at least"
    assert all(re.match("https://", t) for t in shown)
    assert (len(shown) == len(targets(text))) == (address is not None)


def test_with_an_address_they_lead_into_the_repository():
    text = readme("# t\n\n[a](docs/a.md#b) ![c](d.png) [e](https://e.org) [f](#f)\n", "https://g.org/o/r")
    there = "https://g.org/o/r"
    assert targets(text) == [f"{there}/blob/HEAD/docs/a.md#b", f"{there}/raw/HEAD/d.png", "https://e.org", "#f"]


def test_the_wheel_brings_what_the_readme_names(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = {name.partition("/share/doc/streamflow-fluxop/")[2] for name in file.namelist()}
    named = [t.partition("#")[0] for t in targets((ROOT / "README.md").read_text()) if not t.startswith("https:")]
    assert not {t for t in named if t} - names
