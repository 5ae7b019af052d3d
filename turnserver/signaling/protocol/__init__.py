"""The wire format of ``signal.v1``: fields, messages, errors and their JSON Schema. No socket, clock or randomness."""

__all__: list[str] = []
