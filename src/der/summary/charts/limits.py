"""How many of a kind a figure shows one by one."""

MOST_MARKED = 20  # points of a line that have large markers
MOST_WRITTEN = 20  # rows of a matrix whose cells hold numbers
MOST_LISTED = 12  # values of an axis that each have a tick, and stretches that each have a name
