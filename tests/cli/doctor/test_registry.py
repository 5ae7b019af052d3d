"""Every check has its name, and every name its check."""

from cli.doctor.findings import CheckName
from cli.doctor.registry import CHECKS


def test_all_of_them_in_the_order_of_the_report() -> None:
    """A name that --only offers without a check behind it would find nothing and say that all is well."""
    assert list(CHECKS) == list(CheckName)
