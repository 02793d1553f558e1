"""Stands before the package of that name in tests and their servers: importing it takes longer than all else.

`jsonschema` takes it for a check of one more format, if it is there.
"""

raise ImportError("not needed by what is tested")
