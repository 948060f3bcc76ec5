"""Measurements of the product. `CONTRIBUTING.md` lists the `make` target of each."""
