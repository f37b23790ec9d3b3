"""Spaces over somebody's own code: blocks lowered through the front ends, joined and cut where no runtime fuses."""
