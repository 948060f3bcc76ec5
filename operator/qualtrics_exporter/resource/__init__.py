"""The QualtricsExporter: what users write, what the operator writes back, and the words both use."""
