"""The page that shows attention, in a browser without a window."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attention_maps import SOURCE, TARGET, random_maps
from pytransformer.attention import AttentionMaps, write_page

# Where it is "required", as in .ci/run, a missing browser is an error and no reason to skip.
REQUIRED = os.environ.get("PYTRANSFORMER_TEST_BROWSER") == "required"
HOSTILE = [
    "</script><img src=x onerror=document.title='broken'>",
    "<!--<script>",
    "@DATA@",
    "&amp;",
    "\u2028",
    "▁שלום",
    "</s>",
]


def missing(what: str) -> None:
    reason = f"needs {what}: apt-get install chromium chromium-driver, pip install selenium"
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(*names: str) -> str:
    found = [path for name in names if (path := shutil.which(name))]
    if not found:
        missing(names[0])
    return found[0]


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    try:
        from selenium import webdriver
    except ImportError:
        missing("selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = find_program("chromium", "chromium-browser", "google-chrome")
    # The sandbox refuses to start for root, as whom containers run; /dev/shm is small in them.
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1100,900"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(find_program("chromedriver"))
    opened = webdriver.Chrome(options=options, service=service)
    yield opened
    opened.quit()


class Page:
    """The page of some maps, as one who looks at it and types meets it."""

    def __init__(self, driver: Any, maps: AttentionMaps, folder: Path, title: str) -> None:
        self.driver = driver
        self.path = folder / "page.html"
        write_page(maps, self.path, title=title)
        for log in ("browser", "performance"):
            driver.get_log(log)  # forgets those of the page before
        driver.get(self.path.as_uri())

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def choose(self, group: str, label: str) -> None:
        """Clicks a choice by its text, or a button."""
        parts = self.all(f"#{group} label, #{group} button")
        [found] = [part for part in parts if part.text == label]
        found.click()

    def word(self, side: str, index: int) -> Any:
        return self.all(f"#{side} .word")[index]

    def point_at(self, target: Any) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).move_to_element(target).perform()

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains, Keys

        chain = ActionChains(self.driver)
        for key in keys:
            chain = chain.send_keys(getattr(Keys, key))
        chain.perform()

    def lines(self) -> dict[tuple[int, int, int], float]:
        """Opacity of each line that can be seen, by head, row and column."""
        found = self.driver.execute_script(
            """return [...document.querySelectorAll("#lines line")]
              .filter((line) => line.getClientRects().length)
              .map((line) => [line.dataset.head, line.dataset.row, line.dataset.column,
                              line.getAttribute("stroke-opacity")].map(Number))"""
        )
        lines = {(head, row, column): opacity for head, row, column, opacity in found}
        assert len(lines) == len(found)
        return lines

    def problems(self) -> list[str]:
        """What the browser complained about, and what it asked for beyond the page itself."""
        messages = [entry["message"] for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                messages.append(event["params"]["request"]["url"])
        return [message for message in messages if message != self.path.as_uri()]


@pytest.fixture
def maps() -> AttentionMaps:
    return random_maps()


@pytest.fixture
def page(driver: Any, maps: AttentionMaps, tmp_path: Path) -> Iterator[Page]:
    opened = Page(driver, maps, tmp_path, "Ein Hund im Schnee")
    yield opened
    assert opened.problems() == []


def visible(
    weights: np.ndarray[Any, Any], *, heads: list[int] | None = None
) -> dict[tuple[int, int, int], float]:
    """The lines of [heads, rows, columns]: those from 0.01, once rounded to the page's 16 bits."""
    chosen = range(len(weights)) if heads is None else heads
    return {
        (head, *place): pytest.approx(float(value), abs=6e-4)
        for head in chosen
        for place, value in np.ndenumerate(weights[head])
        if round(float(value) * 65535) / 65535 >= 0.01
    }


def test_first_view_is_the_last_layer_of_cross_attention(page: Page, maps: AttentionMaps) -> None:
    assert page.driver.title == "Ein Hund im Schnee"
    assert [word.text for word in page.all("#rows .name")] == TARGET
    assert [word.text for word in page.all("#columns .name")] == SOURCE
    assert page.lines() == visible(maps.cross[-1])


def test_kinds_layers_and_heads(page: Page, maps: AttentionMaps) -> None:
    page.choose("layers", "0")
    assert page.lines() == visible(maps.cross[0])
    page.choose("kinds", "Encoder")
    assert [word.text for word in page.all("#rows .name")] == SOURCE
    assert page.lines() == visible(maps.encoder[-1])
    page.choose("kinds", "Decoder")
    assert [word.text for word in page.all("#columns .name")] == maps.decoder_inputs
    page.choose("layers", "1")
    page.choose("heads", "2")
    assert page.lines() == visible(maps.decoder[1], heads=[0, 1, 3])
    page.choose("heads", "none")
    assert page.lines() == {}
    assert page.all("#status")[0].text == "No head is chosen."
    page.choose("heads", "1")
    assert page.lines() == visible(maps.decoder[1], heads=[1])
    page.choose("kinds", "Cross")
    assert page.lines() == visible(maps.cross[-1], heads=[1])
    page.choose("heads", "all")
    assert page.lines() == visible(maps.cross[-1])


def test_heads_have_colours_of_their_own(page: Page) -> None:
    colours = page.driver.execute_script(
        """return [...document.querySelectorAll("#every g")]
          .map((group) => getComputedStyle(group.firstElementChild).stroke)"""
    )
    assert len(set(colours)) == 4


def test_lines_join_words(page: Page) -> None:
    """Their ends lie at the height of the words they join, beside them."""
    places = page.driver.execute_script(
        """const box = (element) => element.getBoundingClientRect();
        const side = (name, index) => box(document.getElementById(name).children[index]);
        return [...document.querySelectorAll("#every line")].map((line) => {
          const { row, column } = line.dataset;
          const frame = box(document.getElementById("lines"));
          const [from, to] = [side("rows", row), side("columns", column)];
          const [y1, y2] = ["y1", "y2"].map((name) => frame.top + line[name].baseVal.value);
          return [from.top, y1, from.bottom, to.top, y2, to.bottom, from.right - frame.left,
                  to.left - frame.right];
        })"""
    )
    assert places
    for top, start, bottom, other_top, end, other_bottom, left, right in places:
        assert top < start < bottom
        assert other_top < end < other_bottom
        assert abs(left) < 1
        assert abs(right) < 1


def test_pointing_at_a_word(page: Page, maps: AttentionMaps) -> None:
    cross = maps.cross[-1]
    page.point_at(page.word("rows", 1))
    row = np.zeros_like(cross)
    row[:, 1] = cross[:, 1]
    assert page.lines() == visible(row)
    means = cross[:, 1].mean(axis=0)
    expected = [f"{mean:.2f}" if mean >= 0.005 else "" for mean in means]
    assert [weight.text for weight in page.all("#columns .weight")] == expected
    cells = page.word("columns", int(means.argmax())).find_elements("css selector", ".cells i")
    opacities = [float(cell.value_of_css_property("opacity")) for cell in cells]
    assert opacities == pytest.approx(cross[:, 1, means.argmax()], abs=6e-4)
    status = page.all("#status")[0].text
    assert status.startswith(f"▁dog looks at {SOURCE[means.argmax()]} {means.max():.2f}")

    page.point_at(page.word("columns", 2))
    column = np.zeros_like(cross)
    column[:, :, 2] = cross[:, :, 2]
    assert page.lines() == visible(column)
    page.point_at(page.all("h1")[0])
    assert page.lines() == visible(cross)


def test_click_holds_a_word(page: Page, maps: AttentionMaps) -> None:
    page.word("rows", 2).click()
    held = page.lines()
    assert {row for _, row, _ in held} == {2}
    page.point_at(page.word("rows", 4))
    assert page.lines() == held
    page.choose("layers", "0")
    assert {row for _, row, _ in page.lines()} == {2}
    page.word("rows", 2).click()
    page.point_at(page.all("h1")[0])
    assert page.lines() == visible(maps.cross[0])


def test_keyboard_alone(page: Page, maps: AttentionMaps) -> None:
    # Tab: the kinds, the layers, four heads, two buttons, and then the words as one stop.
    page.press("TAB", "ARROW_RIGHT")
    assert page.lines() == visible(maps.encoder[-1])
    page.press("TAB", "ARROW_LEFT")
    assert page.lines() == visible(maps.encoder[1])
    page.press("TAB", "SPACE")
    assert page.lines() == visible(maps.encoder[1], heads=[1, 2, 3])
    page.press(*["TAB"] * 6)
    assert {row for _, row, _ in page.lines()} == {0}
    page.press("ARROW_DOWN", "ARROW_DOWN")
    assert {row for _, row, _ in page.lines()} == {2}
    page.press("ARROW_RIGHT", "END")
    assert {column for _, _, column in page.lines()} == {len(SOURCE) - 1}
    page.press("ENTER", "HOME")
    assert {column for _, _, column in page.lines()} == {len(SOURCE) - 1}
    assert page.word("columns", len(SOURCE) - 1).get_attribute("aria-pressed") == "true"
    page.press("ESCAPE")
    assert page.lines() == visible(maps.encoder[1], heads=[1, 2, 3])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(page: Page, scheme: str) -> None:
    """Text stands out from its ground, at 4.5 to 1 or more (WCAG 2, level AA)."""
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    pairs = [("body", "body"), ("h2", "body"), ("#status", "body"), ("#help", "body")]
    pairs += [("#kinds :checked + span", "#kinds :checked + span")]
    pairs += [(f".h{head} :checked + span", f".h{head} :checked + span") for head in range(4)]
    grounds = set()
    for text, ground in pairs:
        colour = page.all(text)[0].value_of_css_property("color")
        behind = page.all(ground)[0].value_of_css_property("background-color")
        grounds.add(behind)
        lighter, darker = sorted((luminance(colour), luminance(behind)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, colour, behind)
    assert len(grounds) == 6
    body = page.all("body")[0].value_of_css_property("background-color")
    assert (luminance(body) > 0.5) == (scheme == "light")


def luminance(colour: str) -> float:
    """Relative luminance of CSS's rgba(), as WCAG 2 defines it."""
    parts = [float(part) / 255 for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_hostile_text_stays_text(driver: Any, tmp_path: Path) -> None:
    title = "</title></script><img src=x onerror=alert(1)>"
    page = Page(driver, random_maps(HOSTILE, HOSTILE, heads=1), tmp_path, title)
    assert driver.title == title
    assert page.all("h1")[0].text == title
    for side in ("rows", "columns"):
        names = driver.execute_script(
            f"return [...document.querySelectorAll('#{side} .name')].map((n) => n.textContent)"
        )
        assert names == HOSTILE
    for side in ("rows", "columns"):
        for index in range(len(HOSTILE)):
            page.point_at(page.word(side, index))
    assert page.all("img") == []
    assert len(page.all("script")) == 2
    assert page.problems() == []


def test_many_heads_and_long_sentences(driver: Any, tmp_path: Path) -> None:
    """Nothing is wider than the window, and words are cut before they overlap."""
    tokens = [f"▁{'Donaudampfschiff' * (1 + i % 3)}{i}" for i in range(60)]
    maps = random_maps(tokens, tokens, layers=2, heads=16)
    page = Page(driver, maps, tmp_path, "x" * 500)
    assert page.lines() == visible(maps.cross[-1])
    for width in (1100, 500):
        driver.set_window_size(width, 900)
        page.point_at(page.word("rows", 0))
        wide = driver.execute_script(
            "const root = document.documentElement; return root.scrollWidth > root.clientWidth"
        )
        assert not wide
    driver.set_window_size(1100, 900)
    assert page.problems() == []
