"""Results that show themselves as a table: in a terminal as text, in a notebook as HTML."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Shown(ABC):
    """Base of results whose display is one of their tables."""

    @property
    @abstractmethod
    def shown(self) -> pd.DataFrame:
        """The table that stands for the result."""

    def __repr__(self) -> str:
        return self.shown.to_string(index=self._indexed, float_format="{:,.4g}".format)

    def _repr_html_(self) -> str:
        import pandas as pd

        with pd.option_context("display.max_colwidth", None):  # a name is shown whole
            return self.shown.to_html(index=self._indexed, float_format="{:,.4g}".format, na_rep="")

    @property
    def _indexed(self) -> bool:
        return self.shown.index.nlevels > 1
