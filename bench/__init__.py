"""How fast the engine trains, against a plain loop: `python -m bench`, from the repository's root."""

import stages as stages  # puts src on the path
