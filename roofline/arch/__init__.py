"""Architecture files: a network as a value, and its lowering to blocks and graphs."""
