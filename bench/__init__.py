"""The benchmark: relayed packets and held allocations, meshturn in turns with other TURN servers on one machine."""

__all__: list[str] = []
