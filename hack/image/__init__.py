"""Builds the image of the operator, without a container engine or a registry.

builder.py    builds the image from `Containerfile`, and the image of the pause container for a node
archive.py    reads an image in an OCI archive
python.py     the Python of the published image, for tests of behavior that differs between versions
__main__.py   builds the image into `dist/`: `make image`
"""
