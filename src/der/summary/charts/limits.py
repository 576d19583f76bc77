"""How many of a kind a figure shows one by one."""

MOST_MARKED = 20  # points of a line that have markers
MOST_WRITTEN = 20  # rows of a matrix whose cells hold numbers, and steps that are parted by lines
MOST_LISTED = 12  # entries of a legend, and values of an axis that each have a tick
