"""`python -m der` is `der`."""

from der.cli.main import main

main()
