"""The checks of ``meshturn doctor``: each takes the facts of a host and returns findings."""

__all__: list[str] = []
