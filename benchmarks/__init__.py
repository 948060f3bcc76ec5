"""Figures about the product, each from a command that anyone can run."""
