"""Whether the page that lies there shows the results that lie there."""

import hashlib

from der.common.errors import UserError
from der.common.sealed import MANIFEST
from der.common.serialization import read_json
from der.project.paths import REPORT, SUMMARY, evaluation, training

HEAD = 4096  # bytes of a page, at least, that come before its styles


def digest_results() -> str:
    """SHA-256 over the summary and the manifests of all that was measured at its steps."""
    digest = hashlib.sha256()
    steps = range(1, len(read_json(SUMMARY)["steps"]) + 1)
    for path in (SUMMARY, *(place(step) / MANIFEST for place in (evaluation, training) for step in steps)):
        content = path.read_bytes()
        digest.update(f"{path.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def is_page_current() -> bool:
    """Whether metrics/report.html was made of the results that lie there."""
    try:
        with REPORT.open("rb") as stream:
            return f'<meta name="results" content="{digest_results()}">'.encode() in stream.read(HEAD)
    except (OSError, UserError):
        return False
