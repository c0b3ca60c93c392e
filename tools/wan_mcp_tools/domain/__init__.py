"""The words that every tool shares: requests, tasks, errors, and the port to the server."""
