"""What is searched: spaces as values and as files, their genomes, and folders of what was found in them."""

from roofline.search.space.genomes import Changes, Choice, Genomes, Value
from roofline.search.space.spec import Space, space_from

__all__ = ["Changes", "Choice", "Genomes", "Space", "Value", "space_from"]
