"""`fluxop compare`: every strategy side by side."""

from __future__ import annotations

from streamflow_fluxop.cli import options


def compare(
    file: options.File = None,
    workflow: options.WorkflowFile = None,
    flavours: options.FlavoursFile = None,
    deployment: options.DeploymentName = None,
    workflow_name: options.WorkflowName = None,
    history: options.History = None,
    no_history: options.NoHistory = False,
    no_javascript: options.NoJavaScript = False,
    web: options.Web = False,
    yes: options.Yes = False,
    limit: options.LimitWords = None,
    objective: options.ObjectiveGoal = None,
    weight: options.Weight = None,
    deadline: options.Deadline = None,
    budget: options.Budget = None,
    seed: options.Seed = None,
    time_limit: options.TimeLimit = None,
) -> None:
    """Plan with every strategy, and show them side by side with the bounds.

    Exit code 2: the input is wrong, or there is no plan.
    """
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.cli.planning import Request
    from streamflow_fluxop.planning.strategies import names
    from streamflow_fluxop.report import tables

    request = Request(
        file=file,
        workflow=workflow,
        flavours=flavours,
        deployment=deployment,
        workflow_name=workflow_name,
        history=history,
        no_history=no_history,
        javascript=not no_javascript,
        web=web,
        yes=yes,
        limits=options.limits(limit or []),
        goal=objective,
        weight=weight,
        deadline=deadline,
        budget=budget,
        seed=seed,
        time_limit=time_limit,
    )
    out = Output()
    for number, source in enumerate(request.sources()):
        best, *rest = names()
        first = request.solve(source, best)
        others = request.others(source, first, rest)
        share = first.problem.objective.weight
        if number:
            out.line()
        out.line(source.title, style="bold")
        out.line()
        out.show(tables.strategies(first, [tables.totals(first, best), *others], score=True))
        out.line()
        out.line(f"score: {share:g} x cost / its bound + {1 - share:g} x makespan / its bound", style="dim")
