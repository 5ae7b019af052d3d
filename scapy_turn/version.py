# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of this distribution, which is not that of meshturn."""

__all__ = ["VERSION"]

VERSION = "0.1.0"
