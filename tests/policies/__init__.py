"""The sample policies in a real API server, with users that have the verb `send` and users that do not."""
