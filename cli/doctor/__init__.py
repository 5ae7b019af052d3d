"""``meshturn doctor``: what goes wrong in practice on the host of a server, and what mends it."""

__all__: list[str] = []
