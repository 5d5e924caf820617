"""AWS's error codes, grouped by their meaning here. Every other code has the default in `failures`.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html and the pages of the operations.
"""

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
SERVER_FAULT = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InvalidEndpointException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
BUSY = frozenset(
    {
        "LimitExceededException",
        "ReplicatedWriteConflictException",
        "ResourceConflictException",
        "ResourceInUseException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
NOT_KNOWN = frozenset(
    {
        "AuthFailure",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "UnauthorizedException",
        "UnrecognizedClientException",
    }
)
SIGNATURE = frozenset(
    {
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "ForbiddenException", "NotAuthorized", "UnauthorizedOperation"}
)
NO_ACCOUNT = frozenset({"OptInRequired", "RegionDisabledException", "SubscriptionRequiredException"})
SESSION_POLICY = frozenset(
    {
        "MalformedPolicyDocument",
        "MalformedPolicyDocumentException",
        "PackedPolicyTooLarge",
        "PackedPolicyTooLargeException",
    }
)
NO_OPERATION = frozenset(
    {
        "InvalidAction",
        "NotImplemented",
        "UnknownOperation",
        "UnknownOperationException",
        "UnsupportedOperationException",
    }
)
OTHER_KEYS = (
    "key element does not match the schema",
    "missing the key",
    "type mismatch for key ",  # of an index it says `for Index Key`
    "missed key schema element",
    "key condition not supported",
    "condition parameter type does not match",
)
"""Parts of DynamoDB's messages, in lower case, about a key of pk and sk in a table with another key schema."""
