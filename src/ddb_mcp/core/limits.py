"""Limits that several packages share. A limit of one package is in the module that enforces it.

Times are in seconds. Common hosts give up on a call after `HOST_SECONDS`, so everything that a call may wait for
adds up to less: `tests/project/test_limits.py` has the sums.
"""

# DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
ITEM_MAX_BYTES = 400 * 1024
PK_MAX_BYTES = 2048
SK_MAX_BYTES = 1024
MAX_DEPTH = 32
MAX_DIGITS = 38
EXPRESSION_MAX_BYTES = 4096
OPERATORS_MAX = 300
IN_MAX = 100
# DynamoDB ignores a `ttl` that lies further in the past:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
TTL_PAST_SECONDS = 5 * 365 * 24 * 3600
# Plain JSON numbers are exact up to here in every host.
EXACT_INTEGER = 2**53

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes
NAME_MAX_BYTES = 65_535
# A number's text in JSON: 38 digits, up to 130 zeros before or after them, and room for redundant digits.
NUMBER_MAX_CHARACTERS = 1000

# One call
HOST_SECONDS = 60
READ_SECONDS = 25
BATCH_SECONDS = READ_SECONDS
WHERE_SECONDS = READ_SECONDS
WHERE_SAMPLE = 5
WHERE_FAILURES = 20
LIMIT_MAX = 1000
# Bytes of a result besides its items: its other members and an ordinary cursor.
ENVELOPE_BYTES = 400
# A cursor that may hold other deployments' keys is padded to CURSOR_BYTES, or to LONG_CURSOR_BYTES if one key has more
# than its share of CURSOR_KEYS_BYTES. So no key's length shows beside another's, and there are two lengths.
# LONG_CURSOR_BYTES fits the longest key, and others with CURSOR_OTHER_KEYS_BYTES.
CURSOR_BYTES = 1024
CURSOR_KEYS_BYTES = 896
LONG_CURSOR_BYTES = 4096
CURSOR_OTHER_KEYS_BYTES = 880
# The cursor of an index fits the longest sort key in base64, and the longest key of the table.
INDEX_CURSOR_BYTES = 4608

# JSON of more bytes is converted in a worker thread, not in the event loop, see `stores/workers.py`.
LOOP_BYTES = 65_536
