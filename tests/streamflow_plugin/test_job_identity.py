"""Which files a job names, beside its inputs."""

import pytest

from streamflow_fluxop.reuse.fingerprint import Folders
from streamflow_fluxop.streamflow_plugin.job_identity import _absolute


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("cat /data/x", {"/data/x"}),
        ("--ref=/d/r,/e/s:/f", {"/d/r", "/e/s", "/f"}),
        ("gcc -I/opt/q file:///g/h", {"/opt/q", "/g/h"}),
        ("a/b ./c/d ../e ~/f", set()),
        ("/my file/x", {"/my file/x", "/my"}),
        ("if [ -e '/a/b' ]; then >/c; fi", {"/a/b", "/c"}),
        ("ls /dev/null /proc/cpuinfo", set()),
        ("cp /w/out/tmp /w/out/b /tmp", {"/tmp"}),
        ("/w/outer /w", {"/w/outer", "/w"}),
    ],
)
def test_paths_are_found_wherever_they_stand_in_a_word(text, paths):
    assert set(_absolute(text, Folders({"out": "/w/out"}))) - {text} == paths - {text}
