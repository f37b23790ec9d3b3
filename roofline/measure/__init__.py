"""Measuring a device of one's own: a plan of micro-benchmarks and networks, timed, kept in a folder."""
