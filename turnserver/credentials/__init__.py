"""Where credentials come from: the registry of sources, what builds them from the configuration, and the HTTP hook."""

__all__: list[str] = []
