"""Observers of the events of relays and rooms: the interface, the registry, and the observers that are included."""

__all__: list[str] = []
