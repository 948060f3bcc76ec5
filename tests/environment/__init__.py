"""Real components that tests and the demo run against. They are created here and removed when the run ends."""
