"""The programs, one file for each: `ranet NAME` runs `NAME.py`; what they share is in program.py."""
