from __future__ import annotations

import shutil

import pytest

BACKENDS = ["embedded"] + (["flux"] if shutil.which("flux") else [])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", BACKENDS, scope="module")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing = "" if "flux" in BACKENDS else " (no `flux` on the PATH, so real Flux was not tested)"
    terminalreporter.write_line(f"MiniCluster backends tested: {', '.join(BACKENDS)}{missing}")
