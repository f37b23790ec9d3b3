"""What compilers know as one op and programs spell out: found in the graph and folded, before anybody costs it."""
