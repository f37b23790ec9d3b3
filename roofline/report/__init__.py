"""The report of a run, and everything read from it: tables, intervals, timelines, pages, files."""
