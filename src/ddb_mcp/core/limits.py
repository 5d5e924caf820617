"""Every budget of time and of bytes."""

# A listing stops reading after this time, well inside the 60 s after which common hosts give up on a call.
READ_SECONDS = 25

# What a result needs besides its items: its other members and an ordinary cursor.
ENVELOPE_BYTES = 400
