"""A page as a browser would read it."""

import json
from html.parser import HTMLParser
from typing import Any

from plotly.offline import get_plotlyjs


class Reader(HTMLParser):
    """Keeps what a browser would show, and every element's attributes."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.plots: Any = None
        self._inside = ""
        self.feed(page.replace(get_plotlyjs(), ""))  # megabytes without mark-up

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if dict(attributes).get("class") == "name":
            self.names.append("")
        self._inside = dict(attributes).get("id") or dict(attributes).get("class") or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "name":
            self.names[-1] += data
        elif self._inside == "plots":
            self.plots = json.loads(data)
