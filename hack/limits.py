"""The time limit for programs that hang."""

HANG_SECONDS = 600.0
"""A program that takes longer hangs. This is not an expectation about speed: other work can make a machine slow."""
