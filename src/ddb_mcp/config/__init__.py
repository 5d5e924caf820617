"""Configuration: environment variables and flags -> one validated, immutable object.

`settings.py` declares every setting once, `values.py` checks one value, `names.py` finds misspelt variables, and
`resolve.py` decides the mode.
"""
