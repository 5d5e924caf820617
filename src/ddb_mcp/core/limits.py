"""Every budget of time, bytes and counts, and the arithmetic that ties them together.

Modules read them as `limits.NAME`, so that one place can be changed and tested. Times are in seconds.

How long a call may take: common hosts give up on a call after `HOST_SECONDS`. A listing reads for `READ_SECONDS`, a
batch begins its last write within `BATCH_SECONDS`. An AWS call begins its last attempt within
`AWS_LAST_ATTEMPT_SECONDS`, and that attempt takes `AWS_READ_SECONDS` at most. A platform call with its attempts takes
`PLATFORM_CALL_SECONDS`, and `SETTLE_SECONDS` more where a lost write is looked up. Each sum is below `HOST_SECONDS`.
"""

# DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
ITEM_MAX_BYTES = 400 * 1024
# One item as a line of an export: six characters for each byte at most, and binary values in base64.
LINE_MAX_BYTES = 8_000_000
PK_MAX_BYTES = 2048
SK_MAX_BYTES = 1024
MAX_DEPTH = 32
MAX_DIGITS = 38
EXPRESSION_MAX_BYTES = 4096
OPERATORS_MAX = 300
IN_MAX = 100
# Characters of a document path. An attribute name may have 64 KB.
PATH_MAX = 66_000
# By item sizes, of the operands of one filter together.
OPERANDS_MAX_BYTES = 32 * 1024
# The branches of an `$or`.
OR_MIN, OR_MAX = 2, 10
# A comparison of values checks its time after this many steps; a step takes about a microsecond.
STEPS_BETWEEN_CHECKS = 2000
# DynamoDB ignores a `ttl` that lies further in the past:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
TTL_PAST_SECONDS = 5 * 365 * 24 * 3600
# Plain JSON numbers are exact up to here in every host.
EXACT_INTEGER = 2**53

# The size of a call's arguments, checked before anything is built from them.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes
NAME_MAX_BYTES = 65_535
# DynamoDB counts 2 bytes for the smallest member of a list: an item of 400 KB has 204,800 members at most.
MEMBERS_MAX = {"item": 250_000, "items": 250_000}
# Members of any other parameter. Operands of 32 KB have fewer members.
OPERANDS_MAX = 20_000
# Members of a whole body or message: of the largest parameter, and of what may stand beside it.
BODY_MEMBERS_MAX = 300_000
# Entries of a parameter that is a list or an object. An expression of 4 KB has no room for more names.
ENTRIES_MAX = {
    "items": 100,
    "keys": 100,
    "attributes": 1000,
    "remove": 1000,
    "add": 100,
    "where": 6,
    "expect": 50,
    "filter": 300,
}
# A number's text in JSON: 38 digits, up to 130 zeros before or after them, and room for redundant digits.
NUMBER_MAX_CHARACTERS = 1000
# An error quotes this much of a name or a path.
QUOTED_CHARACTERS = 100

# One call
HOST_SECONDS = 60
READ_SECONDS = 25
BATCH_SECONDS = READ_SECONDS
BATCH_MAX = 100
CONCURRENT_WRITES = 16
# Writes of one call with `where`, and how many keys and failures its result lists.
WHERE_MAX = 1000
WHERE_SECONDS = READ_SECONDS
WHERE_KEYS = 5
WHERE_FAILURES = 20
# A `where` reports progress after this many items.
WHERE_PROGRESS_ITEMS = 100
LIMIT_DEFAULT = 50
LIMIT_MAX = 1000
# Bytes of a result besides its items: its other members and an ordinary cursor.
ENVELOPE_BYTES = 400
# A result for the data browser on this machine: room for any item, even if each character takes six bytes of JSON.
BROWSER_RESULT_BYTES = 4 * 2**20
# A cursor that may hold other deployments' keys is padded to CURSOR_BYTES, or to LONG_CURSOR_BYTES if one key has more
# than its share of CURSOR_KEYS_BYTES. So no key's length shows beside another's, and there are two lengths.
# LONG_CURSOR_BYTES fits the longest key, and others with CURSOR_OTHER_KEYS_BYTES.
CURSOR_BYTES = 1024
CURSOR_KEYS_BYTES = 896
LONG_CURSOR_BYTES = 4096
CURSOR_OTHER_KEYS_BYTES = 880
# Characters of a padded cursor in base64, with its nonce of 12 bytes and its tag of 16.
PADDED_CURSOR_BYTES = (CURSOR_BYTES + 12 + 16) * 4 // 3 + 1
# A summary: the bytes and groups shown; and the groups and attributes counted. More are counted than shown, so that
# the groups shown are the largest, not the first.
SUMMARY_BYTES = 4096
SUMMARY_GROUPS = 50
SUMMARY_COUNTED = 2000
SUMMARY_ATTRIBUTES = 20_000
SUMMARY_NAME_BYTES = 60
# An outline: its bytes, and how many members of a long map or list it lists.
OUTLINE_BYTES = 8192
OUTLINE_MEMBERS = 20
ITEM_ENVELOPE_BYTES = len('{"deleted":true,"outlined":true,"item":}')
WARNINGS_MAX = 10
# The sentence about dropped attributes that are too long to show.
HIDDEN_BYTES = 300
# Dropped values that a result outlines because they are too long to show.
OUTLINES_MAX = 10
# A store page whose items are only counted.
# In Python's objects, a page of small numbers takes thirty times as much.
AGGREGATE_BYTES = 1_000_000

# JSON of more bytes is converted in a worker thread, not in the event loop, see `stores/workers.py`.
LOOP_BYTES = 65_536

# Hints: some items are read to find out why nothing matched.
HINT_SECONDS = 3
HINT_ITEMS = 100
# 1/HINT_SHARE of the read budget is left for a hint, even where a listing has spent the whole budget.
HINT_SHARE = 20
HINT_READS = 1000
HINT_READ_BYTES = 1_000_000
HINT_BYTES = 400

# The endpoint: DynamoDB's own bounds
DYNAMODB_PAGE_BYTES = 2**20
DYNAMODB_BODY_MAX_BYTES = 16 * 2**20
BATCH_GET_MAX_BYTES = 16 * 2**20
BATCH_GET_MAX = 100
BATCH_WRITE_MAX = 25
TRANSACT_MAX_BYTES = 4 * 2**20
ENDPOINT_KEEP_SECONDS = 120

# Local mode
# LOCK_SECONDS: a call waits this long for another process's lock. LOCK_SLICE_SECONDS: SQLite waits this long before the
# call's own deadline is checked again. LOCK_HELD_SECONDS: a write holds the lock this long at most.
LOCK_SECONDS = 10
LOCK_SLICE_SECONDS = 0.025
LOCK_HELD_SECONDS = 2
# A read of a few items may take this long on the event loop. After it, a thread reads instead.
BRIEF_SECONDS = 0.003
SQLITE_CONNECTIONS = 8
SQLITE_PAGE_ROWS = 10_000
# A page ends after this time, so that a listing can report its position, and that others have their turn between pages
# of long items.
SQLITE_PAGE_SECONDS = 0.03
# Instructions of SQLite's virtual machine (some milliseconds) between two checks of the call's deadline.
SQLITE_STEPS = 50_000
SWEEP_SECONDS = 60
SWEEP_ROWS = 100
# How long a `ClientRequestToken` names one request:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
TOKEN_SECONDS = 600

# Direct mode
AWS_CONNECT_SECONDS = 3.0
AWS_READ_SECONDS = 10.0
AWS_ATTEMPTS = 7
# No attempt begins after this time.
AWS_LAST_ATTEMPT_SECONDS = 12.0
# Only a program that gives credentials can make one attempt take longer.
AWS_STUCK_SECONDS = 30.0
BACKOFF_SECONDS = 0.05
BACKOFF_MAX_SECONDS = 2.0
AWS_CONNECTIONS = 32
SCAN_SEGMENTS = 8
# Attempts of an update with `remove`: a path with a missing parent is left out of the next attempt, and comes back if
# another client stores the parent meanwhile.
MERGE_ATTEMPTS = 4
# Largest and smallest `Limit` of one request.
PAGE_ITEMS = 1000
PAGE_ITEMS_MIN = 16
# Few stored items are smaller. `max_bytes` / SMALL_ITEM_BYTES is thus the most that is worth fetching.
SMALL_ITEM_BYTES = 128
# Over-read factor: fetch 1.5 times what the last hit rate suggests, so that most scans need one round.
OVER_READ = 1.5
TABLE_READY_SECONDS = 180.0
FUNCTION_READY_SECONDS = 60.0
FUNCTION_REREADS = 3
POLL_SECONDS = 1.0
# Characters: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
SESSION_POLICY_MAX = 2048

# Platform mode
PLATFORM_CONNECT_SECONDS = 5
PLATFORM_CALL_SECONDS = 50
PLATFORM_ATTEMPTS = 4
PLATFORM_BACKOFF_SECONDS = 0.2
PLATFORM_ANSWER_MAX_BYTES = 10_000_000
PLATFORM_CONNECTIONS = 32
SETTLE_SECONDS = 8
# A query page with fewer bytes ended at the end of the partition, not at DynamoDB's 1 MB a page.
WELL_UNDER_A_PAGE_BYTES = 512 * 1024
# Platforms cap `limit` at round numbers: a multiple of this many items may be the cap, not the end.
PLATFORM_PAGE_ITEMS = 100
AUTH_COMMAND_SECONDS = 20
AUTH_COMMAND_MAX_BYTES = 65_536

# MCP over stdio. When the client closes stdin, calls in flight are finished: a write has the shorter time, a listing
# needs READ_SECONDS. The server's own clean-up comes after. A signal ends the process at once.
STDIO_WRITE_GRACE_SECONDS = 10
STDIO_GRACE_SECONDS = 30
STDIO_CLEANUP_SECONDS = 2
# Seconds between two checks whether anybody still reads stdout.
STDIO_LOOK_SECONDS = 0.1

# Every HTTP interface. A connection has HANDSHAKE_SECONDS for TLS, HEAD_SECONDS from the end of an answer (or its
# own beginning) to the end of the next request's head, BODY_SECONDS for that request's body, and ANSWER_READ_SECONDS to
# take what is written to it. So a connection that does nothing useful holds its place for at most 30 s.
HANDSHAKE_SECONDS = 10
HEAD_SECONDS = 30
BODY_SECONDS = 20
ANSWER_READ_SECONDS = 30
# After an early answer the rest of an announced body is read away for this long, so that its sender sees the answer.
LEFTOVER_SECONDS = 5
HEAD_MAX_BYTES = 16_384
# An item of 400 KB, all of it characters that JSON escapes, sent as a JSON string within JSON, has less than 3 MB.
BODY_MAX_BYTES = 4_000_000
# Bodies being read and answers not yet taken, of all requests of a process together. Beyond it: status 503.
IN_FLIGHT_MAX_BYTES = 128_000_000
# Connections at once: at most half of the descriptors that the process may have, so that stores have theirs.
CONNECTIONS_MAX = 512
# Where there are too many connections, a connection that has waited this long for a head is closed for a new one.
IDLE_SECONDS = 0.1
# Connections that the kernel holds until they are accepted. It drops further ones, whose clients try again after 1 s.
BACKLOG = 2048
# Characters of the token of `--http` beyond this machine.
HTTP_TOKEN_MIN = 20
# Requests under way have this long when a server ends. A gateway's clients are many, and it has longer.
GRACE_SECONDS = 10
# The first fault of clients is logged at once; then one line sums up the faults of each such period.
FAULTS_SECONDS = 60
# `doctor` waits so long for the endpoint of the app, whose first answer takes seconds on a busy machine.
DOCTOR_ENDPOINT_SECONDS = 30

# Gateway: one request. It ends this long after its head has come, whatever it waits for: `BODY_SECONDS` for its body,
# then a batch with the attempts of its last entry. A token's record is read again where it was read longer ago than
# `RECORD_SECONDS`, because a body or a turn came late.
REQUEST_SECONDS = HOST_SECONDS
RECORD_SECONDS = 0.5
GATEWAY_GRACE_SECONDS = 30
# How often several processes are looked after.
WATCH_SECONDS = 1
GATEWAY_ANSWER_MAX_BYTES = 5_000_000
GATEWAY_PAGE_BYTES = 1_000_000
# A result over MCP, as a server that is not configured otherwise has it.
MCP_RESULT_BYTES = 32_768
# One request of a `where`. A client waits longer than this for an answer, and sends no request after `WHERE_SECONDS`.
GATEWAY_WHERE_MAX = 100
GATEWAY_WHERE_SECONDS = 15
# Items that one request may read; its cursor continues. Small, so that no request takes long.
GATEWAY_READ_BUDGET = 10_000

# Gateway: what one tenant may ask of one process
TENANT_REQUESTS_PER_SECOND = 500
TENANT_ITEMS_PER_SECOND = 20_000
# In direct mode a scan reads past other tenants' items. They are paid from a budget of their own, and one request reads
# past no more than `GATEWAY_READ_BUDGET`.
TENANT_OTHERS_PER_SECOND = 20_000
# A deployment that was quiet may use its rates of this many seconds at once.
BURST_SECONDS = 5
# Bodies and answers together.
TENANT_BYTES_PER_SECOND = 20_000_000
TENANT_BYTES_BURST = 64_000_000
# Processor time of conversions in the worker thread. A tenant has half a second of it in a second, and this much at
# once; one that has used half of that has a single call carried out at a time.
TENANT_WORK_PER_SECOND = 0.5
TENANT_WORK_BURST = 2.0
# One deployment cannot take all worker threads of the process. Beyond TENANT_CALLS_AT_ONCE its calls wait for their
# turn; beyond a share of all connections (`web/connection_slots.py`) they are refused.
TENANT_CALLS_AT_ONCE = 12
# Of those, queries and scans: each may hold some thousand long items in a thread.
TENANT_LISTINGS_AT_ONCE = 3
# Bodies in work and answers being sent. A request that finds no room waits `ROOM_SECONDS`.
TENANT_BYTES_IN_FLIGHT = 16_000_000
ROOM_SECONDS = 10
# Tenants whose budgets are remembered. A tenant that is forgotten has been quiet so long that its budgets are full.
TENANTS_REMEMBERED = 10_000

# Gateway: the registry
TOKENS_MAX = 100
# A claim is written, compared and confirmed within seconds. An older claim is a leftover.
CLAIM_SECONDS = 60
# Attempts of a change while others change the same record.
REGISTRY_ATTEMPTS = 20
# A store's attempt may outlast its request: an attempt at AWS, at the lock of a local file, or one that waits for a
# program that gives credentials. REMOVAL_SECONDS after a deployment's last token has ended, no request of it can write
# any more, and `remove` deletes the data.
ATTEMPT_SECONDS = max(AWS_CONNECT_SECONDS + AWS_READ_SECONDS, LOCK_SECONDS, AWS_STUCK_SECONDS)
REMOVAL_SECONDS = REQUEST_SECONDS + ATTEMPT_SECONDS
