"""``meshturn probe``: tests a server with the TURN client of `stun.client`, step by step, and shows the results."""

__all__: list[str] = []
