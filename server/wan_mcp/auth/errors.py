"""Why nobody is let in by a token."""


class TokenRefusedError(Exception):
    """
    Raised when a token is not valid here.

    The message is a predicate of the token without a full stop. It is for the log, and repeats nothing of the token.
    """


class IssuerError(Exception):
    """Raised when the issuer's keys cannot be had; the message is a predicate of the issuer without a full stop."""
