"""The software stack: what it fuses, what a launch costs, which fraction of each peak it reaches."""
