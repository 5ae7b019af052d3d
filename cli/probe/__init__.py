"""``meshturn probe``: a sans-IO TURN client, an asyncio link under it, the steps, and how they are shown."""

__all__: list[str] = []
