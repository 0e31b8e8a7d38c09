"""Grids of training runs: described as data (`grid`), run and resumed (`pool`), shown (`board`)."""
