"""Pages in the browser of all tests."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.report.browser import Pages


@pytest.fixture(scope="session")
def pages(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Pages]":
    from tests.report.browser import DESK, Pages

    with browser.new_context(offline=True, viewport=DESK) as context:  # type: ignore[arg-type]
        yield Pages(context, tmp_path_factory.mktemp("pages"))


@pytest.fixture
def opened(pages: "Pages", request: pytest.FixtureRequest) -> "Iterator[Page]":
    """The page of the run that the test is parametrised with, of odd names by default."""
    from tests.report.browser import DESK

    watched = pages[getattr(request, "param", "names")]
    page = watched.page
    page.bring_to_front()
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    page.emulate_media(media="screen", color_scheme="light")
    yield page
    page.mouse.move(0, 0)
    watched.assert_quiet()
