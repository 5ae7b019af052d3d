"""Those who are told what happens, relay by relay and room by room: the interface, the registry, and what ships."""

__all__: list[str] = []
