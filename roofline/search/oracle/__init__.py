"""Latency and counts of any genomes of a space: every distinct block costed once, a candidate as a sum of gathers."""
