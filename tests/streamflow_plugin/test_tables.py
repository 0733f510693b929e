"""What the log shows of a plan is short, however large the plan."""

from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Needs, Problem, Step, Workflow
from streamflow_fluxop.planning import solve
from streamflow_fluxop.streamflow_plugin.plan_log import plan_table


def test_the_plan_in_the_log_is_short_and_says_what_it_leaves_out():
    steps = [Step(name=f"/s{i}", needs=Needs(), duration=Duration(seconds=3700)) for i in range(30)]
    end = Step(name="/end", needs=Needs(), duration=Duration(seconds=1), after=[Dependency(step=s.name) for s in steps])
    problem = Problem(
        workflow=Workflow(name="wide", steps=[*steps, end]),
        flavours={"cpu": Flavour(cores=40, memory=8192, price=1, bring_up=0, tear_down=0)},
        limits=Limits(),
    )
    short = plan_table(solve(problem, strategy="single", time_limit=1))
    assert "/s0, /s1, /s2, /s3 and 27 more" in short
    assert "61 min 41 s" in short
    long = plan_table(solve(problem, strategy="per-step", time_limit=1))
    assert "and 11 more MiniClusters, which the report shows" in long
    assert len(long.splitlines()) == 23
