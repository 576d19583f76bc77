#!/bin/bash
# The rows of a sweep as an array of jobs, each in a clone of its own; docs/scale.md says how to use it.
#SBATCH --job-name=der-sweep
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#
# usage: sbatch --array=1-3 sweep.sh REPOSITORY COMMIT ROWS CLONES
#   REPOSITORY  what git clones, and where the experiments are pushed to; its DVC remote is shared
#   COMMIT      what the rows start from
#   ROWS        a file with a line for every row: train.seed=1 memory.budget=100
#   CLONES      a folder for the clones
# DER_SCRATCH must name a folder that all nodes share: two rows that come to the same step wait for each other there.
set -euo pipefail
repository=$1 commit=$2 rows=$3 clones=$4
row=$SLURM_ARRAY_TASK_ID
: "${DER_SCRATCH:?name a folder that all nodes share}"
read -ra settings < <(sed -n "${row}p" "$rows")

# Before the time limit, and on nothing else, Slurm sends USR1: the job goes to the queue again, and on from there.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
run() { # bash hears a signal only while it waits
    "$@" &
    wait $!
}

clone=$clones/$row
if [ ! -e "$clone/.git/der-ready" ]; then
    rm -rf "$clone"
    git clone --quiet "$repository" "$clone"
    touch "$clone/.git/der-ready"
fi
cd "$clone"
git checkout --quiet --force --detach "$commit"

overrides=()
for setting in "${settings[@]}"; do overrides+=(-S "$setting"); done
run dvc exp run --quiet "${overrides[@]}" check # writes params.yaml
for stage in $(dvc stage list --name-only | grep '^train_task@'); do
    run dvc repro --pull "$stage"
    run dvc push --quiet --run-cache "$stage" # before build_memory, which removes what the other rows wait for
done
run dvc repro --pull
run dvc exp save --force --name "row-$row"
run dvc exp push --quiet origin "row-$row"
