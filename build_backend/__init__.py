"""The build: PEP 517 and PEP 660 hooks, which are setuptools' own except that a wheel is built from a staged tree.

In the repository ``stun``, ``auth``, ``turnserver`` and ``cli`` are top-level folders, and import one another by these
names. A wheel with four such names could overwrite, or be overwritten by, other packages. So a wheel is built
from a copy in which they are sub-packages of ``meshturn`` and their imports are rewritten (`build_backend.stage`). Each
build makes a new copy: nothing is left in the checkout, and no file of an earlier build gets into a wheel.

Editable installs and source distributions use the checkout as it is.
"""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import build_meta
from setuptools.build_meta import build_editable, build_sdist, prepare_metadata_for_build_editable

from build_backend.stage import stage

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, str | list[str] | None] | None
"""The user's settings, as a front end passes them on (``--config-setting``)."""


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build a wheel in ``wheel_directory`` and return its file name (PEP 517)."""
    target = Path(wheel_directory).absolute()
    metadata = None if metadata_directory is None else str(Path(metadata_directory).absolute())
    with TemporaryDirectory(prefix="meshturn-wheel-") as folder:
        stage(Path.cwd(), Path(folder))
        with chdir(folder):
            return str(build_meta.build_wheel(str(target), config_settings, metadata))


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Settings = None) -> str:
    """Write the wheel's ``.dist-info`` folder into ``metadata_directory`` and return its name (PEP 517)."""
    target = Path(metadata_directory).absolute()
    with TemporaryDirectory(prefix="meshturn-wheel-") as folder:
        stage(Path.cwd(), Path(folder))
        with chdir(folder):
            return str(build_meta.prepare_metadata_for_build_wheel(str(target), config_settings))
