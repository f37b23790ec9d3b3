"""Networks as code: one walk over the op graph of a network, and a writer each for PyTorch, JAX and ONNX.

A graph names its ops by the stages and blocks they belong to (``s1.0/se/reduce``). `tree` reads these names as nested
modules, `rules` say of each op which layer it is and of what sizes, `classes` finds the modules that are alike up to
their sizes, `body` turns the ops of a module into the statements of a function. The writers only spell.
"""
