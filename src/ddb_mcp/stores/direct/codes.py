"""AWS's error codes that several modules use. `errors` has the others, and the default for new ones."""

# DynamoDB sends these with status 400.
THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
ACCESS_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "ForbiddenException", "NotAuthorized"})
