"""A report for a browser. Templates are the files beside this one."""
