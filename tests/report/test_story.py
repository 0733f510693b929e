"""Stories of jobs and MiniClusters, of histories that are written here."""

from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop import events as e
from streamflow_fluxop.events.view import RunView
from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Needs, Problem, Step, Workflow
from streamflow_fluxop.planning import solve
from streamflow_fluxop.report.job_story import story_of_job
from streamflow_fluxop.report.minicluster_story import story_of_minicluster
from streamflow_fluxop.report.step_story import story_of_missing_step
from streamflow_fluxop.report.story import Ending

FLAVOURS = {"cpu": Flavour(cores=4, memory=8192, price=3600, bring_up=60, tear_down=30)}
ASKED = e.JobAsked(job="/s/0", step="/s", minicluster="a", memory=1024, cores=2)
UNDER_WAY = Ending(500.0)


def log(*happened, plan=None):
    """A run of one fleet; each event after its time."""
    found = [e.FleetStarted(deployment="fleet", flavours=FLAVOURS, plan=plan)]
    return found + [event.model_copy(update={"at": float(at), "deployment": "fleet"}) for at, event in happened]


def of_job(*happened, plan=None, ending=UNDER_WAY, job="/s/0"):
    return [(t.at, t.text) for t in story_of_job(log(*happened, plan=plan), "fleet", job, ending)]


def of_minicluster(*happened, plan=None, ending=UNDER_WAY):
    return [(t.at, t.text) for t in story_of_minicluster(log(*happened, plan=plan), "fleet", "a", ending)]


def a_plan():
    steps = [
        Step(name="/s", duration=Duration(seconds=100, spread=10, source="history"), needs=Needs()),
        Step(name="/t", duration=Duration(seconds=100), after=[Dependency(step="/s")]),
    ]
    return solve(Problem(workflow=Workflow(steps=steps), flavours=FLAVOURS, limits=Limits(nodes=2)), time_limit=0.2)


UP = [
    (0, e.MiniClusterAsked(minicluster="a", flavour="cpu", size=2, reason="jobs wait for it")),
    (30, e.MiniClusterUp(minicluster="a", seconds=30, nodes=2, backend="Flux 0.88.0")),
]


def test_a_job_is_told_from_asked_for_to_its_end():
    told = of_job(
        (0, ASKED),
        *UP,
        (30, e.JobSubmitted(job="/s/0", minicluster="a")),
        (30, e.JobStarted(job="/s/0")),
        (190, e.JobEnded(job="/s/0", exit_code=0, peak_memory=300, cpu_seconds=150)),
        plan=a_plan(),
    )
    assert told == [
        (
            0,
            "Its inputs are there: it asks for 1 node, 2 cores and 1 GiB. It is a job of /s. "
            "The plan has the step's first job start at 1 min.",
        ),
        (0, "It is to run in a, which has not been asked for yet."),
        (0, "a is asked for, 2 nodes of cpu: jobs wait for it."),
        (30, "a is up, after 30 s."),
        (30, "It is in the queue of a, which is up; nothing runs there."),
        (30, "It starts in a, after 30 s of waiting. It is expected to take 1 min 40 s ± 10 s (as in past runs)."),
        (
            190,
            "It ended well. It ran for 2 min 40 s, and 1 min 40 s ± 10 s (as in past runs) was expected. "
            "It used at most 300 MiB of 1 GiB that it asked for and 2 min 30 s of CPU time.",
        ),
    ]


def test_a_job_that_waits_beside_idle_nodes_says_for_whom_they_are_kept():
    def wait(expected, job="/s/0", **more):
        about = {"reason": "reserved", "kept_for": "/merge", "message": "kept for /merge", **more}
        return e.JobsWait(minicluster="a", jobs=3, idle=1, job=job, expected_in=expected, **about)

    told = of_job((0, ASKED), *UP, (31, wait(12.0)), (32, wait(11.0)), (33, wait(None, job="/other/0")))
    assert told[4:] == [
        (31, "It waits, beside a: 3 jobs waiting, /s/0 first, 1 node idle: kept for /merge, expected in 12 s."),
        (500, "It has waited for 8 min 20 s so far for a, which is up; nothing runs there."),
    ]
    sibling = e.JobAsked(job="/s/1", step="/s", minicluster="a")
    told = of_job((0, ASKED), (0, sibling), *UP, (31, wait(12.0)), job="/s/1")
    assert "kept for /merge" in told[-2][1], "jobs of a step wait for the same"


def test_a_job_that_fails_says_how_and_is_told_again():
    told = of_job(
        *UP,
        (40, ASKED),
        (40, e.JobStarted(job="/s/0")),
        (45, e.JobEnded(job="/s/0", exit_code=139, said="bad address\nin line 3\n")),
        (50, ASKED),
        (60, e.MiniClusterLost(minicluster="a", reason="its node is gone")),
        (60, e.JobEnded(job="/s/0", reason="MiniCluster a was lost: its node is gone")),
        (70, ASKED),
        ending=Ending(500, "The run failed (a job failed)"),
    )
    texts = [text for _, text in told]
    assert "It failed with exit code 139: killed by signal 11 (SIGSEGV). It ran for 5 s." in texts
    assert "The end of what it said: bad address\nin line 3" in texts
    assert any(text.startswith("It is tried again (try 2): it asks for 1 node") for text in texts)
    assert "a is lost: its node is gone." in texts
    assert (
        "It failed: MiniCluster a was lost: its node is gone. It had not started, 10 s after it was asked for." in texts
    )
    assert texts[-1] == "The run failed (a job failed) before it had started."


def test_a_job_whose_result_is_reused_says_of_which_run():
    told = of_job((0, ASKED), (0, e.JobReused(job="/s/0", run="20260101", of="/s/3", seconds=61)))
    assert told[-1][1] == "It does not run: /s/3 of run 20260101 did the same in 1 min 1 s, and its result is reused."


def test_a_job_goes_to_another_minicluster_where_that_is_free():
    told = of_job((0, ASKED), (9, e.JobSubmitted(job="/s/0", minicluster="b")))
    assert told[2][1] == "It is in the queue of b, not of a, which has not been asked for yet."


def test_a_minicluster_is_told_from_its_plan_to_its_cost():
    told = of_minicluster(
        (0, e.MiniClusterAsked(minicluster="a", flavour="cpu", size=1, max_size=4, reason="jobs wait for it")),
        (1, e.MiniClusterProgress(minicluster="a", message="0 of 1 pods run")),
        (30, e.MiniClusterUp(minicluster="a", seconds=30, nodes=1)),
        (30, ASKED),
        (30, e.JobSubmitted(job="/s/0", minicluster="a")),
        (30, e.JobStarted(job="/s/0")),
        (40, e.MiniClusterResizing(minicluster="a", size=3, reason="4 jobs wait")),
        (45, e.MiniClusterResized(minicluster="a", size=2, reason="no node is left")),
        (90, e.JobEnded(job="/s/0", exit_code=0)),
        (95, e.MiniClusterTearingDown(minicluster="a", reason="nothing needs it")),
        (100, e.MiniClusterGone(minicluster="a")),
    )
    assert told == [
        (0, "It is asked for, 1 node of cpu that may become 4: jobs wait for it."),
        (30, "For 29 s it was so far: 0 of 1 pods run."),
        (30, "It is up after 30 s (1 min were assumed), with 1 node."),
        (30, "/s runs there, the last one until 1 min 30 s. 1 job: 1 done."),
        (40, "It shall grow from 1 to 3 nodes: 4 jobs wait."),
        (45, "It has 2 nodes now, and not what was wanted: no node is left."),
        (95, "It is given up: nothing needs it. Nothing has run there for 5 s."),
        (
            100,
            "It is gone, 5 s after it was given up. "
            "In 1 min 40 s it cost 165, 165 node-seconds; jobs filled 18 % of that.",
        ),
    ]


def test_a_minicluster_that_is_lost_or_never_came_says_so():
    coming = (0, e.MiniClusterAsked(minicluster="a", flavour="cpu", size=1))
    lost = (9, e.MiniClusterLost(minicluster="a", reason="quota"))
    assert of_minicluster(coming, lost)[1] == (9, "It does not come up: quota.")
    assert of_minicluster(*UP, (40, lost[1]))[-2] == (40, "It is lost: quota.")
    assert of_minicluster(coming)[-1][1].startswith("It is coming up now. In 8 min 20 s it cost 500")
    died = Ending(50, "The controller died")
    assert of_minicluster(*UP, ending=died)[-1][1].startswith("The controller died before it was gone. In 50 s")
    assert of_minicluster(ending=died) == [(50, "It was never asked for. The controller died.")]


def test_a_planned_minicluster_begins_with_its_plan():
    plan = a_plan()
    (planned,) = plan.miniclusters
    told = story_of_minicluster(log(plan=plan), "fleet", planned.name, UNDER_WAY)
    assert told[0].text.startswith("It is planned: 1 node of cpu, asked for at 0 s and gone at 4 min 50 s, cost 290")
    assert told[-1].text == "It has not been asked for yet."


def test_a_step_without_jobs_says_what_it_waits_for():
    def told(*happened):
        view = RunView(log(*happened, plan=a_plan()))
        return list(story_of_missing_step(view.fleets["fleet"], "/t", Ending(50, "The run failed")))

    assert told() == [
        "No job of it was asked for until 50 s.",
        "The plan has 1 job of it, the first of which starts at 2 min 40 s.",
        "It waits for /s, of which no job was asked for either.",
        "The run failed.",
    ]
    failed = told((0, ASKED), (1, e.JobStarted(job="/s/0")), (2, e.JobEnded(job="/s/0", exit_code=1)))
    assert failed[2] == "It waits for /s (1 job: 1 failed)."
    done = told((0, ASKED), (1, e.JobStarted(job="/s/0")), (2, e.JobEnded(job="/s/0", exit_code=0)))
    assert done[2] == "/s is over (1 job: 1 done)."


NAMES = {"minicluster": st.sampled_from("ab")}
JOB = {"job": st.sampled_from(["/s/0", "/s/1"])}
REASON = {"reason": st.sampled_from(["", "no node is left"])}
SIZE = {"size": st.integers(1, 4)}
ANYTHING = st.one_of(
    st.builds(e.MiniClusterAsked, flavour=st.just("cpu"), **NAMES, **SIZE, **REASON),
    st.builds(e.MiniClusterProgress, message=st.just("0 of 1 pods run"), **NAMES),
    st.builds(e.MiniClusterUp, seconds=st.just(3.0), nodes=st.integers(1, 4), **NAMES),
    st.builds(e.MiniClusterNodes, nodes=st.integers(0, 4), **NAMES),
    st.builds(e.MiniClusterResizing, **NAMES, **SIZE, **REASON),
    st.builds(e.MiniClusterResized, **NAMES, **SIZE, **REASON),
    st.builds(e.MiniClusterTearingDown, **NAMES, **REASON),
    st.builds(e.MiniClusterLost, **NAMES, **REASON),
    st.builds(e.MiniClusterGone, **NAMES),
    st.builds(e.JobsWait, jobs=st.integers(0, 2), job=st.sampled_from([None, "/s/0", "/s/1", "?"]), **NAMES),
    st.builds(e.JobAsked, step=st.sampled_from([None, "/s", "/t"]), minicluster=st.sampled_from([None, "a"]), **JOB),
    st.builds(e.JobSubmitted, **JOB, **NAMES),
    st.builds(e.JobStarted, **JOB),
    st.builds(
        e.JobEnded, exit_code=st.sampled_from([None, 0, 1, 137, -9, 4000]), said=st.sampled_from([None, ""]), **JOB
    ),
    st.builds(e.JobReused, run=st.just("r"), of=st.just("/s/0"), seconds=st.just(1.0), **JOB),
    st.builds(e.ImageGot, image=st.just("i")),
    st.builds(e.BudgetReached, cost=st.just(1), budget=st.just(2), reason=st.just("")),
    st.builds(e.FleetStarted, flavours=st.just(FLAVOURS), plan=st.sampled_from([None, a_plan()])),
    st.builds(e.RunEnded, exit_code=st.sampled_from([0, 1])),
)


@given(st.lists(ANYTHING, max_size=25), st.sampled_from([UNDER_WAY, Ending(3.0, "The run failed")]))
def test_whatever_a_log_says_there_is_a_story_in_order_of_time(events, ending):
    numbered = list(enumerate(events))
    for told in (of_job(*numbered, ending=ending), of_minicluster(*numbered, ending=Ending(500.0, ending.why))):
        assert all(text.strip() for _, text in told)
    times = [at for at, _ in of_job(*numbered)]
    assert times == sorted(times)
    times = [at for at, _ in of_minicluster(*numbered)]
    assert times == sorted(times)
