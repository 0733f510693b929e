"""The classes of requirements that CWL itself has, in any version."""

from __future__ import annotations

CWL_S_OWN = {
    "DockerRequirement",
    "EnvVarRequirement",
    "InitialWorkDirRequirement",
    "InlineJavascriptRequirement",
    "InplaceUpdateRequirement",
    "LoadListingRequirement",
    "MultipleInputFeatureRequirement",
    "NetworkAccess",
    "ResourceRequirement",
    "ScatterFeatureRequirement",
    "SchemaDefRequirement",
    "ShellCommandRequirement",
    "SoftwareRequirement",
    "StepInputExpressionRequirement",
    "SubworkflowFeatureRequirement",
    "ToolTimeLimit",
    "WorkReuse",
}
