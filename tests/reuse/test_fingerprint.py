"""Two jobs have one fingerprint if they do the same, and never else."""

import copy
import uuid

from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop.reuse.fingerprint import (
    Folders,
    JobDescription,
    described,
    fingerprint,
    input_folders,
    without_content,
)

words = st.lists(st.text(st.characters(blacklist_characters="\0"), max_size=6), max_size=3)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, width=16) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
jobs = st.builds(
    JobDescription,
    argv=words,
    environment=st.dictionaries(st.sampled_from(["A", "B", "AB"]), st.text(max_size=3), max_size=2),
    stdin=st.none() | st.text(max_size=2),
    stdout=st.none() | st.text(max_size=2),
    image=st.none() | st.sampled_from(["debian:12", "debian:13"]),
    needs=st.dictionaries(st.sampled_from(["tasks", "cores"]), st.integers(1, 2), max_size=2),
    success_codes=st.lists(st.integers(0, 2), max_size=2),
    inputs=st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=2),
    staged=st.lists(st.lists(st.text(max_size=2), max_size=2), max_size=2),
)


def about(job):
    """All that a job is, in a form in which 1, 1.0 and True differ."""
    fields = {**vars(job), "success_codes": sorted(job.success_codes)}
    return repr(canonical(fields))


def canonical(value):
    if isinstance(value, dict):
        return sorted((key, canonical(v)) for key, v in value.items())
    return [canonical(v) for v in value] if isinstance(value, (list, tuple)) else value


@given(jobs, jobs)
def test_jobs_that_differ_in_anything_have_different_fingerprints(one, other):
    folders = Folders({"out": "/w/o", "tmp": "/w/t"})
    assert (fingerprint(one, folders) == fingerprint(other, folders)) == (about(one) == about(other))


def run_of(job, out, tmp):
    """A job's description with its directories in place of `@o` and `@t`."""

    def put(value):
        if isinstance(value, str):
            return value.replace("@o", out).replace("@t", tmp)
        if isinstance(value, dict):
            return {key: put(v) for key, v in value.items()}
        return [put(v) for v in value] if isinstance(value, (list, tuple)) else value

    return JobDescription(**{name: put(value) for name, value in vars(job).items()})


with_folders = st.builds(
    JobDescription,
    argv=st.lists(st.lists(st.sampled_from(["@o", "@t", "/", "a", " ", ":"]), max_size=4).map("".join), max_size=3),
    environment=st.dictionaries(st.just("HOME"), st.sampled_from(["@o", "@o/x", "/root", "@t"]), max_size=1),
    inputs=st.dictionaries(st.just("x"), st.sampled_from(["@o", ["@t/y"], {"k": "@o"}]), max_size=1),
)


@given(with_folders, with_folders)
def test_the_directories_that_each_run_makes_anew_do_not_count_and_their_roles_do(one, other):
    # what follows a directory's name at once makes it another name: "@oa" is no directory of the job
    here = {"out": f"/w/{uuid.uuid4()}", "tmp": f"/w/{uuid.uuid4()}"}
    there = {"out": f"/scratch/{uuid.uuid4()}", "tmp": f"/scratch/{uuid.uuid4()}"}
    first = fingerprint(run_of(one, here["out"], here["tmp"]), Folders(here))
    assert fingerprint(run_of(other, here["out"], here["tmp"]), Folders(here)) == first or about(one) != about(other)
    plain = not any(text in repr(vars(one)) for text in ("@oa", "@ta"))
    if plain:
        assert fingerprint(run_of(one, there["out"], there["tmp"]), Folders(there)) == first


def file(path, checksum="sha1$1", **more):
    return {"class": "File", "path": path, "basename": path.rsplit("/", 1)[-1], "checksum": checksum, **more}


def of_inputs(inputs, input_directory, argv=()):
    folders = Folders({"in": input_directory, **input_folders(inputs, input_directory)})
    contents = dict.fromkeys(without_content(inputs), "content")
    return fingerprint(JobDescription(argv=argv, inputs=described(inputs, contents)), folders)


def test_files_count_by_name_and_content_and_not_by_where_they_lie():
    def job(folder, checksum="sha1$1", name="a.txt"):
        path = f"{folder}/{uuid.uuid4()}/{name}"
        return of_inputs({"x": file(path, checksum, location=f"file://{path}")}, folder, ["cat", path])

    assert job("/w/1") == job("/v/2")
    assert job("/w/1") != job("/w/1", checksum="sha1$2")
    assert job("/w/1") != job("/w/1", name="b.txt")


def test_which_input_a_command_names_counts():
    def job(first):
        inputs = {"x": file(f"/w/1/{uuid.uuid4()}/a"), "y": file(f"/w/1/{uuid.uuid4()}/a")}
        return of_inputs(inputs, "/w/1", ["cat", inputs["x" if first else "y"]["path"]])

    assert job(True) == job(True)
    assert job(True) != job(False)


def test_secondary_files_and_what_lies_in_directories_count():
    path = f"/w/1/{uuid.uuid4()}"
    plain = {"x": file(f"{path}/a", secondaryFiles=[file(f"{path}/a.idx", "sha1$2")])}
    other = copy.deepcopy(plain)
    other["x"]["secondaryFiles"][0]["checksum"] = "sha1$3"
    assert of_inputs(plain, "/w/1") != of_inputs(other, "/w/1")
    assert list(without_content({"d": {"class": "Directory", "path": "/d", "listing": [{"class": "File"}]}})) == [
        "/d",
        "",
    ]


def test_text_with_its_directories_by_role_is_read_with_those_of_another_job():
    old, new = Folders({"out": "/w/o", "in": "/w/o/i"}), Folders({"out": "/v/p", "in": "/v/q"})
    assert new.text(old.parts("ln /w/o/i/x /w/o/y /w/other")) == "ln /v/q/x /v/p/y /w/other"
    assert Folders({}).text(old.parts("/w/o")) is None
