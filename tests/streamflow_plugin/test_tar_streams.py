"""What comes from a MiniCluster as tar lands where it should, or is refused in words."""

import io
import os
import tarfile

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from streamflow.core.exception import WorkflowExecutionException

from streamflow_fluxop.streamflow_plugin.agent_streams import AgentStream
from streamflow_fluxop.streamflow_plugin.tar_streams import HEADER_MAX, extract


class Bytes:
    def __init__(self, data):
        self._data = io.BytesIO(data)

    async def read(self, size=-1):
        return self._data.read(min(size, 700) if size >= 0 else -1)  # in pieces, as a stream has them


def member(name, kind=tarfile.REGTYPE, **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive(*members, form=tarfile.GNU_FORMAT):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as tar:
        for info, content in members:
            info.size = len(content) or info.size
            tar.addfile(info, io.BytesIO(content) if content else None)
    return data.getvalue()


async def come(data, dst, src="/far/out"):
    await extract(AgentStream(Bytes(data)), src, str(dst))


def found(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def test_a_file_and_a_tree_arrive_as_they_were(tmp_path):
    await come(archive((member("out", mode=0o640), b"text")), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"text"
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o640
    tree = archive(
        (member("out", tarfile.DIRTYPE), b""),
        (member("out/sub", tarfile.DIRTYPE), b""),
        (member("out/sub/a", mode=0o755), b"a" * 100_000),
        (member("out/b", tarfile.LNKTYPE, linkname="out/sub/a"), b""),
        (member("out/c", tarfile.SYMTYPE, linkname="sub/a"), b""),
        (member("out/" + "long" * 60), b"x"),
    )
    await come(tree, tmp_path / "tree")
    assert found(tmp_path / "tree") == sorted(["b", "c", "sub", "sub/a", "long" * 60])
    assert (tmp_path / "tree/b").read_bytes() == (tmp_path / "tree/c").read_bytes() == b"a" * 100_000


async def test_a_file_goes_into_a_directory_that_is_there(tmp_path):
    (tmp_path / "inputs").mkdir()
    await come(archive((member("out"), b"text")), tmp_path / "inputs")
    assert (tmp_path / "inputs/out").read_bytes() == b"text"


OUT = [
    [(member("/etc/x"), b"x")],
    [(member("out/../../x"), b"x")],
    [(member("../x"), b"x")],
    [(member("other"), b"x")],
    [(member("out", tarfile.DIRTYPE), b""), (member("out/dev", tarfile.CHRTYPE, devmajor=1, devminor=3), b"")],
    [(member("out", tarfile.DIRTYPE), b""), (member("out/disk", tarfile.BLKTYPE), b"")],
    [(member("out", tarfile.DIRTYPE), b""), (member("out/pipe", tarfile.FIFOTYPE), b"")],
    [(member("out", tarfile.SYMTYPE, linkname="/etc"), b"")],
    [(member("out", tarfile.DIRTYPE), b""), (member("out/l", tarfile.SYMTYPE, linkname="../.."), b"")],
    [(member("out", tarfile.DIRTYPE), b""), (member("out/l", tarfile.SYMTYPE, linkname="/"), b"")],
    [(member("out", tarfile.DIRTYPE), b""), (member("out/l", tarfile.LNKTYPE, linkname="/etc/passwd"), b"")],
    [(member("out", tarfile.DIRTYPE), b""), (member("out/l", tarfile.LNKTYPE, linkname="../secret"), b"")],
]


@pytest.mark.parametrize("members", OUT, ids=lambda members: members[-1][0].name + members[-1][0].linkname)
async def test_what_leads_out_or_is_no_data_is_refused(tmp_path, members):
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "run").mkdir()
    with pytest.raises(WorkflowExecutionException, match="FAILED copy of /far/out from a MiniCluster: "):
        await come(archive(*members), tmp_path / "run/copy")
    assert set(found(tmp_path)) <= {"secret", "run", "run/copy"}
    assert (tmp_path / "secret").read_text() == "mine"


@pytest.mark.parametrize("way", ["loop", "up/work/7/out"])
async def test_a_link_that_leads_up_is_not_followed_for_ever(tmp_path, way):
    names = f"out/{way}/" + f"{way}/" * 38
    folders = ["/".join(names.split("/")[:length]) for length in range(1, names.count("/") + 1)]
    members = [(member(folder, tarfile.DIRTYPE), b"") for folder in folders]
    with pytest.raises(WorkflowExecutionException, match="leads back to where it is"):
        await come(archive(*members), tmp_path / "copy")
    assert len(found(tmp_path / "copy")) < 40


def links(*pairs):
    return [(member(name, tarfile.SYMTYPE, linkname=target), b"") for name, target in pairs]


LATER = {
    "through a name that is a link later": links(("out/l", "d/../secret"), ("out/d", ".")),
    "far out": links(("out/l", "d/e/../../secret"), ("out/d", "."), ("out/e", ".")),
    "after a dot": links(("out/l", "./d/../secret"), ("out/d", ".")),
    "with three dots": links(("out/l", "..."), ("out/m", ".../../secret")),
    "a link by another name": [
        (member("out/s", tarfile.DIRTYPE), b""),
        (member("out/s/a"), b"a"),
        *links(("out/s/a", "../secret")),
        (member("out/h", tarfile.LNKTYPE, linkname="out/s/a"), b""),
    ],
}


@pytest.mark.parametrize("members", LATER.values(), ids=LATER)
async def test_no_link_leads_out_by_what_comes_later(tmp_path, members):
    (tmp_path / "secret").write_text("mine")
    with pytest.raises(WorkflowExecutionException, match="is a link"):
        await come(archive((member("out", tarfile.DIRTYPE), b""), *members), tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "copy")


async def test_nothing_is_written_through_links(tmp_path):
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "outside").mkdir()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/a").symlink_to(tmp_path / "secret")
    (tmp_path / "copy/d").symlink_to(tmp_path / "outside")
    (tmp_path / "copy/up").symlink_to("..")
    await come(archive((member("out/a"), b"theirs")), tmp_path / "copy")
    assert (tmp_path / "secret").read_text() == "mine"
    assert (tmp_path / "copy/a").read_text() == "theirs"
    for name in ("out/d/x", "out/up/x"):
        with pytest.raises(WorkflowExecutionException, match="leads out"):
            await come(archive((member(name), b"theirs")), tmp_path / "copy")
    assert not (tmp_path / "x").exists()
    assert found(tmp_path / "outside") == []


async def test_nobody_becomes_somebody_else_by_a_file(tmp_path):
    await come(archive((member("out", mode=0o6755, uid=0), b"#!/bin/sh")), tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "copy").stat().st_uid == os.getuid()


async def test_what_does_not_fit_is_refused_before_it_fills_the_disk(tmp_path):
    huge = member("out", size=1 << 60).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(WorkflowExecutionException, match="are free"):
        await come(huge + bytes(1024), tmp_path / "copy")
    short = archive((member("out"), b"x" * 5000))[:3000]
    with pytest.raises(WorkflowExecutionException, match=r"early|unexpected end"):
        await come(short, tmp_path / "copy")
    header = member("out", tarfile.XHDTYPE, size=HEADER_MAX + 1).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(WorkflowExecutionException, match="a header of"):
        await come(header + bytes(1024), tmp_path / "copy")


TREE = archive(
    (member("out", tarfile.DIRTYPE), b""),
    (member("out/a", pax_headers={"comment": "x"}), b"a"),
    (member("out/l", tarfile.SYMTYPE, linkname="a"), b""),
    form=tarfile.PAX_FORMAT,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(TREE) - 1), st.integers(0, 255)), max_size=8), end=st.integers(0))
async def test_any_bytes_land_inside_or_are_refused_in_words(tmp_path_factory, changes, end):
    folder = tmp_path_factory.mktemp("run")
    data = bytearray(TREE)
    for place, value in changes:
        data[place % 3000] = value
    for start in range(0, 3000, 512):  # checksums as an adversary would make them
        block = data[start : start + 512]
        data[start + 148 : start + 156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:512]))
    try:
        await come(bytes(data[: end % len(data)] if end % 3 == 0 else data), folder / "copy")
    except WorkflowExecutionException as error:
        event(str(error)[:20])  # nothing else may be raised
    assert os.listdir(folder) in ([], ["copy"])
