"""From a setting over kernels as columns to what each of them costs."""
