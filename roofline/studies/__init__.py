"""What simulations tell together: comparisons, tables, checks against published figures."""
