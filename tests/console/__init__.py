"""The console in a real browser, with a real API server, a real operator and the sandbox."""
