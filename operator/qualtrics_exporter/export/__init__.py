"""One run: whom the query names, its steps, its journal.

`run.execute` is the way in; `steps` is the table of a run, read downwards. Nothing in here knows Kubernetes: a run
works on a `Journal`, which is the status of an object for the controller and a local file for the command line.
"""
