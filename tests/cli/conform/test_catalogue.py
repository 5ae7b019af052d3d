"""Every check of the table is a function, and every function is a check of the table."""

from cli.conform import catalogue
from cli.conform.catalogue import MODULES, all_checks
from cli.conform.registry import registered
from cli.conform.table import checks


def test_table_and_functions_agree() -> None:
    assert list(all_checks()) == list(checks())
    assert registered().keys() == checks().keys()


def test_every_module_has_checks() -> None:
    groups = {check.group for check in all_checks().values()}
    assert {module.__name__.rpartition(".")[2] for module in MODULES} == groups
    assert set(catalogue.__all__) == {"MODULES", "all_checks"}
