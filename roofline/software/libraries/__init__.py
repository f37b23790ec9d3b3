"""Kernel libraries as values: what decides how long their kernels take, one class for each kind.

A file in ``libraries/`` is one library; runtimes name those they call, in order of preference.
"""
