"""The stages of the pipeline, one script each: parameters -> a function of der -> files.

Run from the repository's root, as DVC does.
"""

import sys
from pathlib import Path

# The library of this very checkout: an experiment runs in a copy of the repository, where an installed
# package would still be the original's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
