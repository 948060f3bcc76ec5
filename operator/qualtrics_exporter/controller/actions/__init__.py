"""What the reconciler does for an exporter besides its run, one thing at a time."""
