"""``meshturn probe``: the steps, asked of a server by the TURN client of `stun.client`, and how they are shown."""

__all__: list[str] = []
