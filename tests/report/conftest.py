"""A page about a made-up study, and a real browser to open it in."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import emscore
from study import sweep

Open = Callable[..., Page]

SLOW = 180_000  # milliseconds; a busy machine may take long, and nothing is measured here
expect.set_options(timeout=SLOW)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing = f"there is none of the browsers {', '.join(BROWSERS)}"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=SLOW)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with report.html about the study, and its plots in plots/."""
    folder = tmp_path_factory.mktemp("report")
    emscore.report_file(sweep(), folder / "report.html", png=folder / "plots")
    return folder


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a page; at the end, there was no error and no request to anywhere."""
    contexts, told = [], []

    def opened(path: Path, width: int = 1440, scheme: str = "light", **more: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            **more,
        )
        context.set_default_timeout(SLOW)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console", lambda m: told.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda r: told.append(r.url) if r.url != path.as_uri() else None)
        page.on("dialog", lambda dialog: told.append(dialog.message))
        page.goto(path.as_uri(), timeout=SLOW)
        plots = page.locator("[data-plot]").count()
        page.wait_for_function(
            "n => document.querySelectorAll('[data-drawn]').length === n", arg=plots
        )
        return page

    yield opened
    for context in contexts:
        context.close()
    assert told == []
