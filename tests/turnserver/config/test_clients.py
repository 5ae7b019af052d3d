"""The schema of the client ACL."""

import pytest
from pydantic import ValidationError

from turnserver.config.clients import ClientsConfig


def test_networks() -> None:
    """Addresses and networks; by default none."""
    assert (ClientsConfig().allow, ClientsConfig().deny) == ((), ())
    clients = ClientsConfig.model_validate({"allow": ["10.0.0.0/8"], "deny": ["2001:db8::1"]})
    assert (str(clients.allow[0]), str(clients.deny[0])) == ("10.0.0.0/8", "2001:db8::1/128")


@pytest.mark.parametrize("value", ["10.0.0.0/8", ["10.0.0.1/8"], ["turn.example.org"], [7]])
def test_what_is_no_network(value: object) -> None:
    """A list is needed, and no name is resolved."""
    with pytest.raises(ValidationError):
        ClientsConfig.model_validate({"deny": value})
