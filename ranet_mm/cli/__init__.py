"""Command-line programs; `tools/*.py` call them."""
