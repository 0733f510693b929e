"""The command `fluxop`: one module a command. What is heavy is imported when a command runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streamflow_fluxop.cli.clean import clean
from streamflow_fluxop.cli.compare import compare
from streamflow_fluxop.cli.doctor import doctor
from streamflow_fluxop.cli.estimates import estimates
from streamflow_fluxop.cli.flavours import flavours
from streamflow_fluxop.cli.manifests import manifests
from streamflow_fluxop.cli.plan import plan
from streamflow_fluxop.cli.report import report
from streamflow_fluxop.cli.run import run
from streamflow_fluxop.cli.simulate import simulate
from streamflow_fluxop.cli.status import runs, status
from streamflow_fluxop.cli.verify import verify
from streamflow_fluxop.cli.why import why
from streamflow_fluxop.errors import UserError

WRONG_INPUT = 2
"""Exit code where the input is wrong or impossible."""


class _Commands(TyperGroup):
    """Shows a user's mistake as one message on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(WRONG_INPUT) from None
        except RecursionError:  # the readers have bounds of their own; some library may have a lower one
            typer.echo("the input can't be read: its parts lie too deep in each other", err=True)
            raise typer.Exit(WRONG_INPUT) from None


app = typer.Typer(
    name="fluxop",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fluxop {version('streamflow-fluxop')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """On-demand HPC for StreamFlow: which MiniClusters a workflow needs, when, and at what cost."""


app.command()(plan)
app.command()(compare)
app.command()(verify)
app.command()(estimates)
app.command()(simulate)
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
    options_metavar="[OPTIONS OF STREAMFLOW RUN]",
)(run)
app.command()(status)
app.command()(runs)
app.command()(report)
app.command()(why)
app.command()(clean)
app.command()(flavours)
app.command()(doctor)
app.add_typer(manifests)
