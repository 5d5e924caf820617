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
# Characters of a document path: an attribute name may have 64 KB.
PATH_MAX = 66_000
# By item sizes, of the operands of one filter together.
OPERANDS_MAX_BYTES = 32 * 1024
# The branches of an `$or`.
OR_MIN, OR_MAX = 2, 10
# Comparisons of values look so often whether they are to end; a step takes about a microsecond.
STEPS_BETWEEN_CHECKS = 2000
# A `ttl` further past than this expires nothing:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-before-you-start.html
TTL_PAST_SECONDS = 5 * 365 * 24 * 3600
# Plain JSON numbers are exact up to here in every host.
EXACT_INTEGER = 2**53

# What a call may be made of, looked at before anything is built from it.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes
NAME_MAX_BYTES = 65_535
# DynamoDB counts 2 bytes for the smallest member of a list: an item of 400 KB has 204,800 members at most.
MEMBERS_MAX = {"item": 250_000, "items": 250_000}
# Members of any other parameter. Operands of 32 KB have fewer.
OPERANDS_MAX = 20_000
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
# The longest that number in JSON needs: 38 digits, after or before 130 zeros, and some that say nothing.
NUMBER_MAX_CHARACTERS = 1000
# Longer names and paths are cut where an error quotes them.
QUOTED_CHARACTERS = 100

# One call
HOST_SECONDS = 60
READ_SECONDS = 25
BATCH_SECONDS = READ_SECONDS
BATCH_MAX = 100
CONCURRENT_WRITES = 16
# Writes of one call by `where`; the first keys and failures that its result names.
WHERE_MAX = 1000
WHERE_SECONDS = READ_SECONDS
WHERE_KEYS = 5
WHERE_FAILURES = 20
# Progress is told after so many of them.
WHERE_TOLD = 100
LIMIT_DEFAULT = 50
LIMIT_MAX = 1000
# What a result needs besides its items: its other members and an ordinary cursor.
ENVELOPE_BYTES = 400
# A page of the data browser on this machine: any item whole, though a character may take six bytes of JSON.
BROWSER_RESULT_BYTES = 4 * 2**20
# A cursor that may hold others' keys is padded to the first, and to a multiple of the second where that is too little.
CURSOR_BYTES = 1024
CURSOR_STEP_BYTES = 4096
# Its letters in base64, with its nonce and its seal.
PADDED_CURSOR_BYTES = (CURSOR_BYTES + 12 + 16) * 4 // 3 + 1
# A summary: its bytes and groups, and what is counted for it, so that the groups shown are the largest, not the first.
SUMMARY_BYTES = 4096
SUMMARY_GROUPS = 50
SUMMARY_COUNTED = 2000
SUMMARY_ATTRIBUTES = 20_000
SUMMARY_NAME_BYTES = 60
# Of an outline: all its values, and the members that it names of one that is itself too long.
OUTLINE_BYTES = 8192
OUTLINE_MEMBERS = 20
ITEM_ENVELOPE_BYTES = len('{"deleted":true,"outlined":true,"item":}')
WARNINGS_MAX = 10
# The sentence that names attributes that were dropped and are too long to show.
HIDDEN_BYTES = 300
# Dropped values that are outlined in a result where they are too long to show.
OUTLINES_MAX = 10
# What a store page may bring at once where its items are only counted.
AGGREGATE_BYTES = 4_000_000
# A listing gives way to other calls after so many items, or members of them, and ends after so many members.
CHECKPOINT_ITEMS = 50
CHECKPOINT_MEMBERS = 5_000
LISTING_MEMBERS = 2_000_000

# Results with more members are made into text in a worker thread, and messages of more bytes are parsed there, so that
# the event loop goes on.
LOOP_MEMBERS = 2000
LOOP_BYTES = 65_536

# Hints: a look at some items, for a reason why nothing matched
HINT_SECONDS = 3
HINT_ITEMS = 100
# One part in so many of the read budget is for a hint even where a listing has spent it.
HINT_SHARE = 20
HINT_READS = 1000
HINT_READ_BYTES = 1_000_000
HINT_BYTES = 400

# The endpoint: DynamoDB's own bounds
DYNAMODB_PAGE_BYTES = 2**20
DYNAMODB_BODY_MAX_BYTES = 16 * 2**20
# Longer bodies are parsed in a worker thread.
LONG_BODY_BYTES = 100_000
BATCH_GET_MAX_BYTES = 16 * 2**20
BATCH_GET_MAX = 100
BATCH_WRITE_MAX = 25
TRANSACT_MAX_BYTES = 4 * 2**20
ENDPOINT_KEEP_SECONDS = 120

# Local mode
# How long a call waits for another process's lock, how long SQLite waits before the call is looked at again, and how
# long a write may hold the lock itself.
LOCK_SECONDS = 10
LOCK_SLICE_SECONDS = 0.025
LOCK_HELD_SECONDS = 2
SQLITE_CONNECTIONS = 8
# Writes that share a transaction, and with it a flush to the disk.
WRITES_AT_ONCE = 64
SQLITE_PAGE_ROWS = 10_000
# A page ends after this time, so that a listing can say how far it came.
SQLITE_PAGE_SECONDS = 1
# Instructions of SQLite's virtual machine, some milliseconds' worth, between two looks at whether the call is over.
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
# Nothing but a program that gives credentials takes this long for one attempt.
AWS_STUCK_SECONDS = 30.0
BACKOFF_SECONDS = 0.05
BACKOFF_MAX_SECONDS = 2.0
AWS_CONNECTIONS = 32
SCAN_SEGMENTS = 8
# An update that names what is not there is sent again without it, and once more where it came meanwhile.
MERGE_ATTEMPTS = 4
# Largest and smallest `Limit` of one request.
PAGE_ITEMS = 1000
PAGE_ITEMS_MIN = 16
# Few stored items are smaller: more than `max_bytes` holds of these need not be fetched.
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
# A query that gave less than this ended for want of items, not at DynamoDB's 1 MB a page.
WELL_UNDER_A_PAGE_BYTES = 512 * 1024
# Platforms that cap the limit do so at round numbers: this many items may be the cap, not the end.
PLATFORM_PAGE_ITEMS = 100
AUTH_COMMAND_SECONDS = 20
AUTH_COMMAND_MAX_BYTES = 65_536
# What a command has printed is there when it ends, even where a child that it leaves behind keeps the pipe open.
AUTH_COMMAND_LAST_BYTES_SECONDS = 0.3

# MCP over stdio. When the client closes stdin, what is in flight is finished: a write has the shorter time, a listing
# needs READ_SECONDS. The server's own clean-up comes after. A signal ends the process at once.
STDIO_WRITE_GRACE_SECONDS = 10
STDIO_GRACE_SECONDS = 30
STDIO_CLEANUP_SECONDS = 2
# So often is looked whether somebody still reads stdout.
STDIO_LOOK_SECONDS = 0.1

# Every HTTP face. A connection has HANDSHAKE_SECONDS for TLS, HEAD_SECONDS from the end of an answer (or its
# own beginning) to the end of the next request's head, BODY_SECONDS for that request's body, and ANSWER_READ_SECONDS to
# take what is written to it. So one that does nothing useful holds its place for at most 30 s.
HANDSHAKE_SECONDS = 10
HEAD_SECONDS = 30
BODY_SECONDS = 20
ANSWER_READ_SECONDS = 30
# After an early answer the rest of an announced body is read away for this long, so that its sender sees the answer.
LEFTOVER_SECONDS = 5
HEAD_MAX_BYTES = 16_384
# An item of 400 KB, all of it characters that JSON escapes, as a JSON string within JSON, is below 3 MB.
BODY_MAX_BYTES = 4_000_000
# Bodies that are being read and answers that are not yet taken, all requests of a process together. Beyond it, 503.
IN_FLIGHT_MAX_BYTES = 128_000_000
# Connections at once: at most half of the descriptors that the process may have, so that stores have theirs.
CONNECTIONS_MAX = 512
CONNECTIONS_PER_ADDRESS = 128
# A connection that waited this long for a head makes room for a new one when there are too many.
IDLE_SECONDS = 0.1
# Connections that the kernel holds before they are accepted.
BACKLOG = 256
# Characters of the token of `--http` beyond this machine.
HTTP_TOKEN_MIN = 20
# Requests under way have this long when a server ends. A gateway's clients are many, and it has longer.
GRACE_SECONDS = 10
# Trouble that clients make is logged at once, then as one line in this time.
TROUBLE_SECONDS = 60

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
# One step of a `where`. A client waits longer than this for an answer, and begins no step after `WHERE_SECONDS`.
GATEWAY_WHERE_MAX = 100
GATEWAY_WHERE_SECONDS = 15
# What one request may read; a cursor goes on. Small enough that no request is long.
GATEWAY_READ_BUDGET = 10_000

# Gateway: what one tenant may ask of one process
TENANT_REQUESTS_PER_SECOND = 500
TENANT_ITEMS_PER_SECOND = 20_000
# In direct mode a scan reads past other tenants' items. They are paid from a budget of their own, and one request reads
# past no more than `GATEWAY_READ_BUDGET`.
TENANT_OTHERS_PER_SECOND = 20_000
# A deployment that was quiet may use this many seconds' worth at once.
BURST_SECONDS = 5
# Bodies and answers together.
TENANT_BYTES_PER_SECOND = 20_000_000
TENANT_BYTES_BURST = 64_000_000
# What everybody waits for: a step of a call that holds the event loop for longer than `LONG_STEP_SECONDS`, and JSON
# that is parsed or written in a thread. A tenant has half a second of it in a second, and this much at once; one that
# has used half of that has a single call carried out at a time.
LONG_STEP_SECONDS = 0.01
TENANT_WORK_PER_SECOND = 0.5
TENANT_WORK_BURST = 2.0
# One deployment cannot take all worker threads of the process: more of its calls wait for their turn, and still more
# are refused.
TENANT_CALLS_AT_ONCE = 12
# Of those, queries and scans: each may hold some thousand long items in a thread.
TENANT_LISTINGS_AT_ONCE = 3
TENANT_CALLS_WAITING = 200
# Bodies that are being read and carried out, and answers that are being sent. Who finds no room waits `ROOM_SECONDS`.
TENANT_BYTES_IN_FLIGHT = 16_000_000
ROOM_SECONDS = 10
# Tenants whose budgets are remembered. One that is forgotten has not asked for so long that all of it is there again.
TENANTS_REMEMBERED = 10_000

# Gateway: the registry
TOKENS_MAX = 100
# A claim is written, compared and confirmed within seconds; one that is older was left over.
CLAIM_SECONDS = 60
# How often a change is tried again because others changed the same record.
REGISTRY_ATTEMPTS = 20
# One attempt of a store that began in time may end after its request: one at AWS, one at the lock of a local file, or
# one that waits for a program that gives credentials. So long after its last token has ended, no request that it opened
# can write any more, and `remove` deletes the data.
ATTEMPT_SECONDS = max(AWS_CONNECT_SECONDS + AWS_READ_SECONDS, LOCK_SECONDS, AWS_STUCK_SECONDS)
REMOVAL_SECONDS = REQUEST_SECONDS + ATTEMPT_SECONDS
