"""``python -m meshturn`` is the command ``meshturn``."""

from cli.entry import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
