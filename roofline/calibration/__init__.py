"""Measurements beside predictions: reading them, what they tell of constants, how far predictions are off."""
