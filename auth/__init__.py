"""Who may relay: long-term keys, stateless nonces, time-limited credentials, and the sources that they come from."""

__all__: list[str] = []
