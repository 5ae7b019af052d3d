"""What setup.cfg cannot say: values that are worked out from other files."""

from setuptools import setup

from build_backend.project import description, version

setup(version=version(), long_description=description())
