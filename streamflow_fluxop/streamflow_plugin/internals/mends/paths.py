"""Mend: a `+` in the path of a CWL file or of its inputs is a `+`.

cwl-utils 0.42, which StreamFlow 0.2.0rc3 pins, reads it as a space (`parser/__init__.py`, `load_document_by_uri`, and
`parser/utils.py`, `load_inputfile_by_uri`): that is so in the query of a URI, and nowhere else in it.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from urllib.parse import unquote

import cwl_utils.parser
import cwl_utils.parser.utils
from schema_salad.exceptions import ValidationException

from streamflow_fluxop.streamflow_plugin.internals.mends import Mend


def _is_needed() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a+b.cwl")
        path.write_text(json.dumps({"cwlVersion": "v1.2", "class": "CommandLineTool", "inputs": [], "outputs": []}))
        try:
            cwl_utils.parser.load_document_by_uri(str(path))
        except (ValidationException, OSError):
            return True
    return False


def _apply() -> None:
    for module in (cwl_utils.parser, cwl_utils.parser.utils):
        assert callable(module.unquote_plus)
        module.unquote_plus = unquote


MEND = Mend("a + in the path of a CWL file is a +", "0.2.0rc3 (cwl-utils 0.42)", _is_needed, _apply)
