"""The records of runs in results/, and what README and docs show of them: `python -m tools.results`."""
