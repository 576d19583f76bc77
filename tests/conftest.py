"""Set-up of every test process."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # several test processes share the cores; read when torch is imported
