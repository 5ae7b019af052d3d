"""Writes docs/configuration.md, or another file that is named, from the schema of this checkout; runs in any folder."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # Python puts the script's own folder there, which is docs/.

from turnserver.config import reference  # noqa: E402  found by way of the line above

if __name__ == "__main__":
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "configuration.md"
    page.write_text(reference(), encoding="utf-8")
