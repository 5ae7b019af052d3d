"""What a report of a failed test says beside the failure."""

from collections.abc import Callable

import pytest

__all__ = ["add_section"]

LENGTH = 20_000
"""Characters of a section that are kept."""


def add_section(report: pytest.TestReport, title: str, describe: Callable[[], str]) -> None:
    """Add to a report what ``describe`` returns, or why it returns nothing.

    A description asks things that may be broken, a page that is navigating or a log that is gone; an exception in a
    hook of pytest ends the whole run, so none leaves here.
    """
    try:
        text = describe()
    except (Exception, pytest.fail.Exception) as error:  # the second is a time limit's, and no Exception
        text = f"cannot be told: {type(error).__name__}: {error}"
    report.sections.append((title, text[-LENGTH:]))
