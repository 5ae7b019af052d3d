"""How checks are entered, and when one is not for a server."""

import pytest

from cli.conform import catalogue
from cli.conform.registry import Check, check, registered
from cli.conform.table import CheckRow, Demand

ROW = CheckRow("one", Demand.MUST, "8489 §1", "It is so.", "Rule 7: Seven")


async def nothing(bench: object) -> None:
    """A check that finds nothing."""


def made(*, only: str = "", login: bool = True, intrusive: bool = False) -> Check:
    return Check(ROW, nothing, "group", login, only, False, intrusive)


@pytest.mark.parametrize(
    ("only", "fits"), [("udp", {"udp"}), ("stream", {"tcp", "tls"}), ("tls", {"tls"}), ("", {"udp", "tcp", "tls"})]
)
def test_transports(only: str, fits: set[str]) -> None:
    one = made(only=only)
    found = {each for each in ("udp", "tcp", "tls") if not one.unfit(protocol=each, login=True, intrusive=False)}
    assert found == fits


def test_credentials_and_intrusion() -> None:
    assert "--user" in made().unfit(protocol="udp", login=False, intrusive=False)
    assert made(login=False).unfit(protocol="udp", login=False, intrusive=False) == ""
    assert "--intrusive" in made(intrusive=True).unfit(protocol="udp", login=True, intrusive=False)
    assert made(intrusive=True).unfit(protocol="udp", login=True, intrusive=True) == ""


def test_names_are_those_of_the_table_and_each_once() -> None:
    with pytest.raises(KeyError):
        check("no-such-check")(nothing)
    assert registered().keys() == catalogue.all_checks().keys()
    with pytest.raises(ValueError, match="two functions are the check binding-answered"):
        check("binding-answered")(nothing)
