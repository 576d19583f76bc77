"""`python -m der` is `der`."""

from der.command.main import main

main()
