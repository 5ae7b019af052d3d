"""The benchmark: relayed packets and held allocations, meshturn and other TURN servers alternating on one machine."""

__all__: list[str] = []
