"""A page as a browser would read it."""

import json
from html.parser import HTMLParser
from typing import Any


class Reader(HTMLParser):
    """Keeps what a browser would show, and every element's attributes."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []  # texts of elements of class name
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.data: Any = None  # of the script
        self.text = ""  # all that is no script or style
        self._inside = ""
        self._named = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if self._named:
            self._named += 1
        elif dict(attributes).get("class") == "name":
            self.names.append("")
            self._named = 1
        self.text += " " if tag in ("br", "td", "th", "tr", "section") else ""
        self._inside = "data" if dict(attributes).get("id") == "data" else tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        self._named = max(self._named - 1, 0)

    def handle_data(self, data: str) -> None:
        if self._named:
            self.names[-1] += data
        if self._inside == "data":
            self.data = json.loads(data)
        elif self._inside not in ("script", "style"):
            self.text += data
