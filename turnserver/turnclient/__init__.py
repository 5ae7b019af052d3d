"""A TURN client on asyncio: links to a server, and the client over one of them."""

__all__: list[str] = []
