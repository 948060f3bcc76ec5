"""A real one-node cluster on this machine, for tests and developers.

node.py       starts and stops a node, and runs programs in it
boot.py       the first process of a node: sets up its root file system and network, and starts its components
settings.py   the settings of the components, with their reasons
keys.py       the certificates and tokens of a node
cgroups.py    the cgroups of its pods
__main__.py   builds everything that a node needs, before the tests
"""
