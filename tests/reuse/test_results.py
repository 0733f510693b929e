"""What is kept of jobs that succeeded."""

import sqlite3
import stat

from streamflow_fluxop.reuse.results import Result, Results, Scope


def result(fingerprint="f", run="r1", **more):
    about = {
        "file": "/x/streamflow.yml",
        "step": "/s",
        "tool": "t",
        "job": "/s/0",
        "directory": f"/w/{run}",
        "seconds": 1.5,
    }
    known = {
        "exit_code": 0,
        "output": "said",
        "folders": {"out": "/w/o"},
        "entries": [["a", "f", 420, [1, 2, 3, 4], None]],
    }
    return Result(fingerprint=fingerprint, run=run, **{**about, **known, **more})


def test_results_are_found_by_fingerprint_the_newest_first(tmp_path):
    results = Results(tmp_path)
    results.add([result(), result(run="r2"), result("other")])
    found = results.find("f", Scope())
    assert [r.run for r in found] == ["r2", "r1"]
    assert found[1].entries == [["a", "f", 420, [1, 2, 3, 4], None]]
    assert found[1].folders == {"out": "/w/o"}
    results.close()


def test_they_are_there_for_the_next_program_and_for_nobody_else(tmp_path):
    first = Results(tmp_path / "runs")
    first.add([result()])
    first.close()
    second = Results(tmp_path / "runs")
    assert [r.job for r in second.find("f", Scope())] == ["/s/0"]
    assert stat.S_IMODE(second.path.stat().st_mode) == 0o600
    second.close()


def test_a_scope_names_runs_a_file_and_a_run_that_does_not_count(tmp_path):
    results = Results(tmp_path)
    results.add([result(run="r1"), result(run="r2", file="/y"), result(run="r3", file=None)])
    runs = lambda **scope: {r.run for r in results.find("f", Scope(**scope))}  # noqa: E731
    assert runs(runs=frozenset({"r1", "r3"})) == {"r1", "r3"}
    assert runs(runs=frozenset()) == set()
    assert runs(file="/y") == {"r2"}
    assert runs(but="r2") == {"r1", "r3"}
    results.close()


def test_what_was_brought_elsewhere_is_counted_once(tmp_path):
    results = Results(tmp_path)
    results.add([result(), result(job="/s/1")])
    (first, *_) = results.find("f", Scope())
    results.add([result(run="r2", origin=first.origin)])
    assert results.count(Scope()) == {("/s", "t"): 2}
    results.close()


def test_checksums_hold_for_the_version_of_a_file_that_they_were_made_of(tmp_path):
    results = Results(tmp_path)
    results.add([], {"/a": ([1, 2, 3, 4], "sum")})
    assert results.checksums({"/a": [1, 2, 3, 4]}) == {"/a": "sum"}
    assert results.checksums({"/a": [1, 2, 9, 4], "/b": [0, 0, 0, 0]}) == {}
    results.close()


def test_what_had_not_the_outputs_that_were_expected_is_forgotten_with_where_it_came_from(tmp_path):
    results = Results(tmp_path)
    results.add([result(directory="/w/1"), result(run="r2", directory="/w/2")])
    results.forget("/w/2")
    (first,) = results.find("f", Scope())
    results.add([result(run="r3", directory="/w/3", origin=first.origin), result("g", directory="/w/4")])
    results.forget("/w/3", first.origin)
    assert results.find("f", Scope()) == []
    assert results.find("g", Scope()) != []
    results.close()


def test_the_oldest_go_when_there_are_too_many(tmp_path):
    results = Results(tmp_path)
    results.add([result(run=f"r{n}") for n in range(5)])
    results.forget_oldest(2)
    assert [r.run for r in results.find("f", Scope())] == ["r4", "r3"]
    results.close()


def test_a_damaged_database_is_said_and_left_alone(tmp_path):
    (tmp_path / "results.sqlite").write_bytes(b"no database" * 1000)
    results = Results(tmp_path)
    assert "results.sqlite" in results.problem
    results.add([result()])
    assert (tmp_path / "results.sqlite").read_bytes().startswith(b"no database")
    results.close()


def test_one_of_another_version_is_left_alone(tmp_path):
    db = sqlite3.connect(tmp_path / "results.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.close()
    results = Results(tmp_path)
    assert "another version" in results.problem
    results.close()
