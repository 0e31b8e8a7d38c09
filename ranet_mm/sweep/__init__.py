"""Grids of training runs: described as data (`grid`, `cost`), run and resumed (`pool`), shown (`board`)."""
