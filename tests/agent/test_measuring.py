"""Which jobs in Flux are measured, and what is read of what they say."""

from __future__ import annotations

import pytest

from streamflow_fluxop.agent.backends.measuring import (
    KINDS,
    SHORT,
    Kinds,
    Used,
    can_be_measured,
    kind_of,
    total,
    used_in,
)
from streamflow_fluxop.agent.wire.protocol import JobRequest


def test_jobs_of_a_step_are_of_one_kind():
    one, other = (JobRequest(("align",), name=name) for name in ("/lane/align/0.3", "/lane/align/12.0"))
    assert kind_of(one) == kind_of(other) != kind_of(JobRequest(("align",), name="/lane/sort/0"))


def test_a_kind_that_is_not_known_is_measured_as_often_as_jobs_can_run_at_once():
    kinds = Kinds()
    assert [kinds.wanted("a", 2) for _ in range(4)] == [True, True, False, False]
    kinds.ended("a", None, measured=True)  # it never started
    assert [kinds.wanted("a", 2) for _ in range(2)] == [True, False]


def test_short_jobs_are_not_measured():
    kinds = Kinds()
    assert kinds.wanted("a", 2)
    kinds.ended("a", SHORT / 2, measured=True)
    assert not kinds.wanted("a", 2)


def test_long_jobs_are_all_measured():
    kinds = Kinds()
    assert kinds.wanted("a", 2)
    kinds.ended("a", SHORT, measured=True)
    assert all(kinds.wanted("a", 2) for _ in range(10))


def test_where_a_short_job_takes_long_the_next_one_tells_whether_it_is_the_job_or_flux():
    kinds = Kinds()
    kinds.wanted("a", 2)
    kinds.ended("a", SHORT / 2, measured=True)
    kinds.wanted("a", 2)
    kinds.ended("a", 5 * SHORT, measured=False)
    assert [kinds.wanted("a", 2) for _ in range(3)] == [True, False, False]
    kinds.ended("a", SHORT / 2, measured=True)
    assert not kinds.wanted("a", 2)


def test_no_more_than_so_many_kinds_are_remembered():
    kinds = Kinds()
    for number in range(3 * KINDS):
        kinds.wanted(f"new {number}", 1)
        kinds.ended(f"old {number}", 9, measured=False)
    assert len(kinds._kinds) <= KINDS


@pytest.mark.parametrize(
    ("fields", "possible"),
    [
        ({}, True),
        ({"stdout": "o", "stderr": "e"}, True),
        ({"tasks": 2, "stdout": "o"}, True),
        ({"tasks": 2, "stdout": "o", "stderr": "e"}, False),
        ({"environment": {"LD_LIBRARY_PATH": "/opt/lib"}}, False),
    ],
)
def test_a_job_is_measured_where_that_can_neither_be_seen_nor_hindered(fields, possible):
    assert can_be_measured(JobRequest(("true",), **fields)) == possible


def test_what_a_task_used_is_parted_from_what_it_wrote():
    assert used_in(b"a\0fluxop used 100 20 7\0b") == (b"ab", [Used(100, 20, 7)])
    assert used_in(b"a\0fluxop used x\0b") == (b"a\0fluxop used x\0b", [])


def test_the_memory_of_a_job_is_known_when_all_its_tasks_have_told():
    assert total([Used(100, 20, 7), Used(50, 5, 9)], 2) == {"memory": 150, "cpu": 25}
    assert total([Used(100, 20, 7)], 2) == {}
