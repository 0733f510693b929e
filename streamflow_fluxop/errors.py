"""What goes wrong, in the user's words."""

from __future__ import annotations

from streamflow_fluxop.printable import printable


class FluxopError(Exception):
    """Base of every error that this package raises on purpose."""


class UserError(FluxopError):
    """A mistake in what the user wrote: shown as one message, never as a traceback.

    Args:
        what: what is wrong.
        where: the file and the place in it, such as ``streamflow.yml: deployments.fleet.config.flavours``.
        fix: what would be right.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        fix = f"\n  {self.fix}" if self.fix else ""
        return printable(f"{where}{self.what}{fix}")


class UserErrors(UserError):
    """Several mistakes at once, a paragraph each, so that a user can mend them in one go.

    Args:
        errors: at least one.
    """

    def __init__(self, errors: list[UserError]) -> None:
        super().__init__("\n".join(str(e) for e in errors))
        self.errors = errors


class BudgetReached(FluxopError):
    """The run stops at its budget: the job was ended, or will not start."""


STOPPED_AT_BUDGET = 3
"""Exit code of a run that was stopped at its budget."""
