"""Grids of runs, their records, and the tables, plots and cards that are made from these."""
