"""Search spaces, the latency oracle and the search."""
