#!/bin/bash
# One row of a sweep, in a clone of its own, from where an earlier try of the same row stopped; docs/scale.md.
#
# usage: sweep_row.sh REPOSITORY COMMIT ROWS ROW CLONE
#   REPOSITORY  what git clones, and where the experiment row-ROW is pushed to; its DVC remote is shared
#   COMMIT      what the rows start from
#   ROWS        a file with a line for every row: train.seed=1 memory.budget=100
#   ROW         the number of the line
#   CLONE       the directory of the clone
# DER_SCRATCH names a directory that all rows share: if two rows reach the same step, one waits for the other.
set -euo pipefail
repository=$1 commit=$2 rows=$(realpath "$3") row=$4 clone=$5
: "${DER_SCRATCH:?name a directory that all rows share}"
line=$(sed -n "${row}p" "$rows")
: "${line:?there is no such row}"

if [ ! -d "$clone" ]; then
    rm -rf "$clone.part" # of a job that was killed as it cloned
    git clone --quiet "$repository" "$clone.part"
    mv "$clone.part" "$clone"
fi
cd "$clone"
# Remove what a killed job may have left half-written or locked. No other job uses this clone.
# Finished stages come from the cache all the same.
rm -rf .git/*.lock .dvc/tmp dvc.lock
git fetch --quiet
git checkout --quiet --force --detach "$commit"

read -ra settings <<<"$line"
dvc exp run --quiet "${settings[@]/#/-S}" check # which writes params.yaml
for stage in $(dvc stage list --name-only | grep '^train_task@'); do
    dvc repro --pull "$stage"
    # Before build_memory, which removes the training state that rows with the same step wait for.
    dvc push --quiet --run-cache "$stage"
done
dvc repro --pull
# A repository that has no results yet does not track these two, which tell what the row came to.
dvc exp save --quiet --force --include-untracked metrics/summary.json --include-untracked dvc.lock --name "row-$row"
dvc exp push --quiet --force origin "row-$row"
