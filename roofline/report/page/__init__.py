"""A report as one file for a browser: everything inside, nothing fetched. Templates are the files beside this one."""

from __future__ import annotations

from roofline.report.page.render import Page, render

__all__ = ["Page", "render"]
