"""Programs that stand in for others, where a script of examples/cluster runs without a cluster."""

from pathlib import Path

SCONTROL = """\
case "$1 $2" in
"show hostnames") echo node1 ;;
"show node") echo NodeAddr=127.0.0.1 ;;
requeue*) touch requeued ;;
esac
"""


def write_programs(directory: Path, path: str, **texts: str) -> dict[str, str]:
    """Write shell scripts by the names of programs; returns the environment of a job, on ``path`` else."""
    directory.mkdir()
    for name, text in texts.items():
        (directory / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (directory / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "1", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "node1"}
    return job | {"PATH": f"{directory}:{path}", "DER_SCRATCH": str(directory)}
