"""The wire of ``signal.v1``: fields, messages, errors and their JSON Schema. Pure: no socket, clock or randomness."""

__all__: list[str] = []
