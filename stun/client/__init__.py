"""The client's side of STUN and TURN, without input or output: transactions, authentication, an allocation's life."""

__all__: list[str] = []
