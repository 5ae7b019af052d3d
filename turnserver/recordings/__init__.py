"""Recordings: what an SFU room sends, written to files as it came, and made one film of afterwards.

A recording is a directory with a manifest and one Matroska or WebM file for each participant (and for each screen). It
is written by a process of its own, so that a slow disk delays nobody. PyAV muxes, without transcoding; it is needed
there and for the film, and comes with the extra ``meshturn[media]``.
"""

__all__: list[str] = []
