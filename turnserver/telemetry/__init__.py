"""What operators see from outside: numbers for Prometheus. Nothing here changes the server."""

__all__: list[str] = []
