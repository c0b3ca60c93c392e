"""The background that brings orders forward: sends, polls, downloads, recovers what was lost."""
