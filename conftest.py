"""What holds for every test: those in tests/, the examples in docstrings, the cells of the chapters."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Turn every skip into a failure where CI is set: what CI does not run, nobody runs."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{item.name} must run where CI is set. {reason}"
    return report
