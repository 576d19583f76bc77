"""PyCIL's DER and ours on the same images, protocol and schedule: `python -m bench.pycil`. See README.md."""
