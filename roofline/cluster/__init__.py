"""Work that outgrows one process: sweeps and searches as tasks of any executor, with results that survive it."""
