"""Writes docs/configuration.md from the schema."""

from pathlib import Path

from turnserver.config import reference

if __name__ == "__main__":
    Path(__file__).with_name("configuration.md").write_text(reference(), encoding="utf-8")
