"""Rooms for small calls: signaling over WebSocket, live TURN credentials, and the call page."""

__all__: list[str] = []
