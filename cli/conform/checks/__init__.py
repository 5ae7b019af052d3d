"""The checks of ``meshturn conform``, by subject."""

__all__: list[str] = []
