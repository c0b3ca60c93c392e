"""The databases that the ledger can lie in."""
