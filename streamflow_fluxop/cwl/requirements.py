"""Which requirement holds for a step, as StreamFlow finds it.

An inner entry replaces an outer one of the same class, and requirements win over hints, wherever they stand (CWL 1.2,
4.2). In the root process and its steps `cwl:requirements` of the inputs file win. StreamFlow 0.2.0rc3 does not read the
hints of steps, and makes hints requirements on their way into a tool; `streamflow_plugin.internals.mends` sees to that.

Our own hint, which StreamFlow doesn't know, follows the letter of CWL, the most specific place wins, and field by
field, so that a group that the workflow names and the tasks that a tool asks for add up.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from streamflow_fluxop.cwl.classes import CWL_S_OWN
from streamflow_fluxop.cwl.hint import CLASS, FluxRequirement, is_ours, merge, read_hint
from streamflow_fluxop.cwl.parsed_documents import requirement_place
from streamflow_fluxop.cwl.source_location import SourceLocation, shown
from streamflow_fluxop.errors import UserError, UserErrors


@dataclass(frozen=True)
class Located:
    """A requirement and where it stands.

    Attributes:
        value: cwl-utils' object, such as a ResourceRequirement.
        place: where.
    """

    value: Any
    place: SourceLocation


@dataclass(frozen=True)
class Requirements:
    """What holds at one place in a workflow. Immutable: `entered` and `inside` give new ones.

    Attributes:
        version: CWL's, such as `v1.2`: some defaults depend on it.
        requirements: by class.
        hints: by class.
        flux: our own hints, the most specific last.
    """

    version: str
    requirements: Mapping[str, Located] = field(default_factory=dict)
    hints: Mapping[str, Located] = field(default_factory=dict)
    flux: tuple[tuple[FluxRequirement, SourceLocation], ...] = ()

    def get(self, kind: str) -> Located | None:
        """The requirement of a class that holds here, a hint where there is no requirement."""
        return self.requirements.get(kind) or self.hints.get(kind)

    @property
    def hint(self) -> FluxRequirement:
        """Our own hint as it holds here: of each field the most specific."""
        return merge(level for level, _ in self.flux)

    def flux_place(self, field_name: str) -> str | None:
        """Where a field of our own hint was said; None where it wasn't."""
        for level, place in reversed(self.flux):
            if field_name in level.said():
                return place.at(field_name)
        return None

    @property
    def library(self) -> list[str] | None:
        """InlineJavascriptRequirement's `expressionLib`; None where expressions may not be JavaScript."""
        said = self.get("InlineJavascriptRequirement")
        return None if said is None else list(getattr(said.value, "expressionLib", None) or [])

    def entered(
        self,
        element: Any,
        yaml: Any,
        words: str,
        namespaces: Mapping[str, str],
        errors: list[UserError],
        overrides: Mapping[str, Located] | None = None,
    ) -> Requirements:
        """What holds inside a process or step.

        Args:
            element: cwl-utils' object.
            yaml: what it was parsed from, None where nobody knows it.
            words: what to call it in messages, such as ``step /analysis``; empty for the root.
            namespaces: the document's prefixes.
            errors: mistakes in our own hint are added here, so that a user can mend them all in one go.
            overrides: `cwl:requirements` of the inputs file, for the root process and its steps.
        """
        from schema_salad.exceptions import ValidationException

        file = shown(str(element.loadingOptions.fileuri))
        hints, flux = dict(self.hints), list(self.flux)
        for given in element.hints or []:
            try:
                hint = of_its_class(given, element)
            except ValidationException as error:
                from streamflow_fluxop.cwl.invalid import mistakes

                kind = str(given["class"])
                place = requirement_place(file, yaml, "hints", kind, words)
                errors += [UserError(f"is not valid CWL: {what}", where=str(place)) for _, what in mistakes(error)]
                continue
            if not isinstance(hint, Mapping) and not hasattr(hint, "class_"):
                fix = "Write it as a mapping with its `class`, or leave it out."
                at = replace(SourceLocation(file, yaml, words), key="hints")
                errors.append(UserError(f"{hint!r} is no hint", where=str(at), fix=fix))
                continue
            if isinstance(hint, Mapping) and not isinstance(hint.get("class"), str):
                place = SourceLocation(file, hint, ": ".join(filter(None, (words, "hints"))))
                fix = f"Write `class: {next(iter(hint), '…')}` with its fields beside it."
                errors.append(UserError("a hint without a `class`", where=str(place), fix=fix))
                continue
            if not isinstance(hint, Mapping):
                kind = str(hint.class_)
                hints[kind] = Located(hint, requirement_place(file, yaml, "hints", kind, words))
                continue
            place = SourceLocation(file, hint, ": ".join(filter(None, (words, f"hints.fluxop:{CLASS}"))))
            try:
                if is_ours(hint, namespaces, place):
                    flux.append((read_hint(hint, place), place))
                elif extension := _cwltool(hint):
                    place = requirement_place(file, yaml, "hints", extension, words)
                    hints[extension] = Located(SimpleNamespace(**hint), place)
            except UserErrors as several:
                errors.extend(several.errors)
            except UserError as error:
                errors.append(error)
        requirements = dict(self.requirements)
        for requirement in element.requirements or []:
            kind = str(requirement.class_)
            requirements[kind] = Located(requirement, requirement_place(file, yaml, "requirements", kind, words))
        return replace(self, requirements=requirements | dict(overrides or {}), hints=hints, flux=tuple(flux))

    def inside(self, version: str) -> Requirements:
        """What goes into the process that a step runs, of a document of that version."""
        requirements = {k: v for k, v in self.requirements.items() if k != "Loop"}
        return replace(self, version=version, requirements=requirements)


def of_its_class(hint: Any, element: Any) -> Any:
    """A hint as cwl-utils' object, where it is one of CWL's own.

    cwl-utils leaves the hints of a step, and those with a mistake in them, the mappings that they are.

    Args:
        hint: of `element.hints`.
        element: a process or step.

    Raises:
        schema_salad.exceptions.ValidationException: it is not as CWL wants it.
    """
    if not isinstance(hint, Mapping) or hint.get("class") not in CWL_S_OWN:
        return hint
    parser = sys.modules[type(element).__module__]  # of the element's version
    made = getattr(parser, hint["class"], None)
    options = element.loadingOptions
    return hint if made is None else made.fromDoc(hint, str(options.fileuri), options)


def _cwltool(hint: Mapping[str, Any]) -> str | None:
    """The class of a cwltool extension that cwl-utils didn't recognise, for want of its namespace or a known field."""
    namespace, _, kind = str(hint.get("class", "")).replace("#", ":").rpartition(":")
    known = namespace in ("cwltool", "http://commonwl.org/cwltool") and kind in ("CUDARequirement", "MPIRequirement")
    return kind if known else None
