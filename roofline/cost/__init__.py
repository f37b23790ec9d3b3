"""How long work takes: formulas on numbers or columns, without branches on values and without any graph.

Only correctly rounded operations (+ - x / minimum maximum floor ceil) appear here, so that a column and its rows taken
one by one agree to the last bit.
"""
