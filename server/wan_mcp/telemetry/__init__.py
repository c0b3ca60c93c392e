"""What an operator sees of a running server: metrics, traces, and a line of the log for each order."""
