"""Rooms as a sans-IO machine: frames and the time in, frames and commands out. Pure."""

__all__: list[str] = []
