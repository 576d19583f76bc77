"""What mkdocs does not know: links out of docs/ lead to the repository."""

import re
from typing import Any

LINK = re.compile(r"\]\(\.\./([^)\s]+)\)")


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """The page with its links to ../file as links to the file where the repository is shown."""
    return LINK.sub(rf"]({config.extra['repository']}/blob/main/\1)", markdown)
