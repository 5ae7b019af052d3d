"""``meshturn conform``: tests a server rule by rule, against the table in ``rules.toml``."""

__all__: list[str] = []
