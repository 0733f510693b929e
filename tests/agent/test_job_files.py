"""What a job left is brought elsewhere if it is all there and unchanged, and else nothing is."""

import os
import stat

import pytest

from streamflow_fluxop.agent.system.job_files import (
    Unfit,
    bring,
    carry_out,
    checksums,
    contents,
    entries,
    version_of_tree,
    versions,
)


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "old"
    (folder / "sub").mkdir(parents=True)
    (folder / "out.txt").write_text("hello")
    (folder / "sub/tool").write_text("#!/bin/sh")
    (folder / "sub/tool").chmod(0o755)
    (folder / "link").symlink_to("out.txt")
    return folder


@pytest.fixture
def new(tmp_path):
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


def test_files_directories_links_and_modes_are_brought(old, new):
    listed = entries(str(old))
    assert bring(str(old), str(new), listed) == {}
    assert (new / "out.txt").read_text() == "hello"
    assert stat.S_IMODE((new / "sub/tool").stat().st_mode) == 0o755
    assert os.readlink(new / "link") == "out.txt"


def test_writing_to_what_was_brought_leaves_the_original_as_it_was(old, new):
    bring(str(old), str(new), entries(str(old)))
    with (new / "out.txt").open("a") as file:
        file.write("more")
    assert (old / "out.txt").read_text() == "hello"


@pytest.mark.parametrize("size", [4, 6])
def test_large_files_become_hard_links_only_where_that_is_allowed(old, new, size, monkeypatch):
    monkeypatch.setattr("streamflow_fluxop.agent.system.job_files._clone", lambda *_: False)
    fresh = bring(str(old), str(new), entries(str(old)), hard_links_from=size)
    linked = (new / "out.txt").stat().st_ino == (old / "out.txt").stat().st_ino
    assert linked == (size <= 5) == ("out.txt" in fresh)


def same_size_and_times(path, text):
    about = path.stat()
    path.write_text(text)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("up_to", [0, 100], ids=["without checksum", "with checksum"])
def test_a_file_with_other_content_has_changed_although_size_and_time_are_the_same(old, new, up_to):
    listed = entries(str(old), up_to)
    same_size_and_times(old / "out.txt", "HELLO")
    with pytest.raises(Unfit, match=r"out\.txt has changed"):
        bring(str(old), str(new), listed)
    assert list(new.iterdir()) == []
    bring(str(old), str(new), listed, by="size-and-time")  # as its user wants it
    assert (new / "out.txt").read_text() == "HELLO"


def test_a_file_that_was_only_touched_is_unchanged_where_its_checksum_is_known(old, new):
    listed = entries(str(old), 100)
    os.utime(old / "out.txt")
    bring(str(old), str(new), listed)
    listed = entries(str(old))
    os.utime(old / "out.txt")
    with pytest.raises(Unfit):
        bring(str(old), str(new), listed)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda old: (old / "out.txt").unlink(),
        lambda old: (old / "out.txt").write_text("longer than before"),
        lambda old: ((old / "link").unlink(), (old / "link").symlink_to("sub")),
        lambda old: ((old / "out.txt").unlink(), (old / "out.txt").mkdir()),
        lambda old: os.rename(old, old.parent / "elsewhere"),
    ],
    ids=["removed", "longer", "link to something else", "another kind", "all moved"],
)
def test_nothing_is_brought_if_something_is_missing_or_changed(old, new, spoil):
    listed = entries(str(old), 100)
    spoil(old)
    answer = carry_out({"do": "bring", "source": str(old), "target": str(new), "listed": listed})
    assert "unfit" in answer
    assert list(new.iterdir()) == []


def test_what_was_in_the_way_is_put_back_if_it_can_not_be_done(old, new):
    listed = entries(str(old))
    (new / "out.txt").write_text("staged")
    (new / "gone").write_text("staged, too")
    listed[-1][3] = [0, 0, 0, 0] if listed[-1][1] == "f" else listed[-1]
    with pytest.raises((Unfit, OSError)):
        bring(str(old), str(new), [*listed, ["sub/missing/x", "l", "y"]], remove=["gone"])
    assert sorted(p.name for p in new.iterdir()) == ["gone", "out.txt"]
    assert (new / "out.txt").read_text() == "staged"


def test_what_the_job_changed_or_removed_of_its_staged_files_is_so_again(old, new):
    (new / "out.txt").write_text("staged")
    (new / "gone").write_text("staged, too")
    (new / "link").write_text("stays")
    bring(str(old), str(new), entries(str(old)), keep=["link"], remove=["gone"])
    assert sorted(p.name for p in new.iterdir()) == ["link", "out.txt", "sub"]
    assert (new / "out.txt").read_text() == "hello"
    assert (new / "link").read_text() == "stays"


def test_links_and_texts_that_name_directories_can_be_other_ones(old, new):
    bring(str(old), str(new), entries(str(old)), links={"link": "/w/new"}, texts={"out.txt": "bye"})
    assert os.readlink(new / "link") == "/w/new"
    assert (new / "out.txt").read_text() == "bye"


def test_the_content_of_a_directory_is_what_lies_in_it_links_followed(old):
    found = contents(str(old))
    assert [(e[0], *e[1:2]) for e in found] == [
        ("",), ("link", False), ("out.txt", False), ("sub",), ("sub/tool", True)
    ]  # fmt: skip
    assert found[1][2:] == found[2][2:]
    (old / "sub/up").symlink_to("..")
    with pytest.raises(Unfit, match="around it"):
        contents(str(old))


def test_a_pipe_is_no_result(old):
    os.mkfifo(old / "pipe")
    with pytest.raises(Unfit, match="neither"):
        entries(str(old))


def test_versions_and_checksums_are_those_of_files_that_are_there(old):
    path = str(old / "out.txt")
    assert checksums([path, "/nowhere"]) == {path: [versions([path])[path], "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"]}
    assert versions([str(old), "/nowhere"]) == {str(old): None}


def test_a_directory_has_another_version_when_anything_in_it_changes(old):
    before = version_of_tree(str(old))
    assert version_of_tree(str(old)) == before
    same_size_and_times(old / "sub/tool", "#!/bin/xx")
    assert version_of_tree(str(old)) != before
    with pytest.raises(Unfit, match="more than 2 files"):
        version_of_tree(str(old), most=2)
