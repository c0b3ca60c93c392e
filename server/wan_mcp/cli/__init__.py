"""
The command line.

One module for each group of commands, every one thin: it turns options into a call of the service, and the answer
into lines and an exit code. Nothing is imported here, because the server itself starts through this package.
"""
