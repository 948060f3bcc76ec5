"""The real things that tests and the demo run against, made here and gone again when they end."""
