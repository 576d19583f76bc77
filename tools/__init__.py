"""Programs for those who maintain the project; nothing needs them."""

import stages as stages  # puts src on the path
