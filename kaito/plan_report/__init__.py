"""What `kaito plan` says, as a table, JSON, Markdown or a page."""
