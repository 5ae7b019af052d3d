"""``meshturn nat``: which NAT this machine is behind."""

__all__: list[str] = []
