# The pipeline in a container: docker build --tag der . && docker run --rm --interactive --tty der
FROM python:3.11-slim AS tools
# git and make for the pipeline, g++ for the kernels of long trainings
# Debian keeps no old versions that could be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git make \
    && rm -rf /var/lib/apt/lists/*
# torch without gigabytes for CUDA; empty the line for a GPU
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu PIP_NO_CACHE_DIR=1

FROM tools
WORKDIR /der
COPY . .
# pip install --constraint constraints.txt --editable '.[pipeline]', into .venv
RUN make .venv/.runs
CMD ["make", "run"]
