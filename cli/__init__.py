"""The ``meshturn`` command: one module per command, loaded when it is called."""

__all__: list[str] = []
