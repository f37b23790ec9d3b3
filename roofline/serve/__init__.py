"""The simulator as a small HTTP service, for searches that run elsewhere."""
