"""Signing in: who calls over HTTP, by a token of the operator's file or by one of an OAuth issuer."""
