"""Whether the page that lies there shows the results that lie there."""

import hashlib

from der.common.sealed import MANIFEST
from der.project.paths import REPORT, SUMMARY, evaluation, training

HEAD = 4096  # bytes of a page, at least, that come before its styles
SEALED = (evaluation(1).parent, training(1).parent)  # whose directories hold all that is measured


def digest_results() -> str:
    """SHA-256 over the summary and the manifests of all that was measured."""
    digest = hashlib.sha256()
    manifests = sorted(path for directory in SEALED for path in directory.glob(f"*/{MANIFEST}"))
    for path in (SUMMARY, *manifests):
        content = path.read_bytes()
        digest.update(f"{path.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def is_page_current() -> bool:
    """Whether metrics/report.html was made of the results that lie there."""
    try:
        with REPORT.open("rb") as stream:
            return f'<meta name="results" content="{digest_results()}">'.encode() in stream.read(HEAD)
    except OSError:
        return False
