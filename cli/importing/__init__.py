"""``meshturn import``: a configuration of another server, as one of meshturn.

`command` is the command itself. `coturn_file` and `eturnal` read the files as the originals do, `coturn` and
`eturnal` translate them into an `outcome.Plan`, `verdicts` is the table of coturn's options, and `writing` makes YAML
and files with secrets of a plan. Nothing here resolves a name or opens a connection.
"""

__all__: list[str] = []
