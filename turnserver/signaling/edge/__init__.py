"""Where rooms meet the world: WebSocket, HTTP API, pages, tokens, and the service that joins them with the relay."""

__all__: list[str] = []
