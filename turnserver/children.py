"""What is common to the processes that the server starts: the environment that they get."""

import os
import sys
from typing import Final

__all__ = ["child_environment"]

_KEPT: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TZ", "PYTHONHASHSEED", "PYTHONMALLOC")
"""Variables that a child inherits. Others may be secrets of the configuration."""


def child_environment() -> dict[str, str]:
    """The variables for a child: it finds the same modules and programs, and no secret."""
    path = [os.path.abspath(each) for each in sys.path if each]
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | {"PYTHONPATH": os.pathsep.join(path)}
