"""Whether the page that lies there shows the results that lie there."""

from der.core.errors import UserError
from der.core.files import (read_json)
from der.pipeline.paths import (REPORT, SUMMARY, digest_files, evaluation, training)

HEAD = 4096  # bytes of a page, at least, that come before its styles


def digest_results() -> str:
    """Of the summary and of all that was measured at its steps."""
    steps = range(1, len(read_json(SUMMARY)["steps"]) + 1)
    return digest_files([SUMMARY, *(place(step) for place in (evaluation, training) for step in steps)])


def is_page_current() -> bool:
    """Whether metrics/report.html was made of the results that lie there."""
    try:
        with REPORT.open("rb") as stream:
            return f'<meta name="results" content="{digest_results()}">'.encode() in stream.read(HEAD)
    except (OSError, UserError):
        return False
