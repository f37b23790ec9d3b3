"""What is known about accuracy without training: surrogates with their error, baselines as scores, a user's own."""
