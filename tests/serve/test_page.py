"""The page in a browser: what is dropped is answered and drawn; nothing is loaded from elsewhere; keys are enough.

Needs Debian's Chromium (``apt install chromium``), which Playwright drives.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve")
pytest.importorskip("playwright", reason="the tests of the page")


from playwright import sync_api
from served import CLASSES, KINDS, film, listening, png, run_of, running, wav

from sensorium.modalities import PairConfig
from sensorium.models import checkpoints
from sensorium.nn import DecoderConfig
from sensorium.serve.watch import create_app
from sensorium.tasks import ClassifyConfig, FlowConfig, MLMConfig
from sensorium.training.run_folder import append_history
from small_models import small_model

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium"),
]
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page on which nothing may go wrong, and nothing may be loaded from another server."""
    context = browser.new_context(viewport=SIZES["desk"], permissions=["camera", "microphone"])
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            problems.append(request.url)
            if "127.0.0.1" not in request.url and not request.url.startswith(("blob:", "data:"))
            else None
        ),
    )
    yield opened
    context.close()
    assert not problems


def drop(page: Any, files: dict[str, bytes]) -> None:
    """Drop files onto the page, as from the desktop."""
    content = [[name, list(content)] for name, content in files.items()]
    transfer = page.evaluate_handle(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of files) transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        content,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def warmth(page: Any, selector: str) -> float:
    """How much redder than blue a canvas is on average: the attention over it."""
    return page.evaluate(
        """(selector) => {
            const canvas = document.querySelector(selector);
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let warm = 0;
            for (let place = 0; place < data.length; place += 4) {
                warm += data[place + 3] > 0 ? data[place] - data[place + 2] : 0;
            }
            return (4 * warm) / data.length;
        }""",
        selector,
    )


SEEN = {
    "image": "section[data-kind=image] canvas",
    "video": "section[data-kind=video] canvas",
    "audio": "section[data-kind=audio] canvas:last-of-type",
    "volume": "section[data-kind=volume] canvas",
    "points": "section[data-kind=points] canvas",
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "fusion"])
def test_what_is_dropped_is_answered_and_drawn(kind: str, tmp_path: Path, page: Any) -> None:
    with listening(run_of(kind, tmp_path, task=CLASSES)) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        drop(page, dict([next(iter(KINDS[kind].files.items()))]))
        page.wait_for_selector(f"section[data-kind={kind}]")
        assert page.inner_text(".verdict b") in CLASSES.classes
        assert page.locator(".bars dt").count() == 4
        assert page.inner_text("#status")  # said by screen readers
        assert page.evaluate("document.activeElement.id") == "answer"
        if kind in SEEN:
            if kind == "video":  # a frame with attention
                page.locator(".player input").fill("0.3")
            page.locator(".controls input").fill("1")
            hot = warmth(page, SEEN[kind])
            page.locator(".controls input").fill("0")
            assert hot > warmth(page, SEEN[kind])
        if kind == "volume":
            page.get_by_label("Slice", exact=True).fill("5")
            assert page.inner_text(".player output") == "6 of 6"
        if kind == "series":
            assert page.locator("svg.chart rect").count() > 1
            assert page.locator("svg.chart path").count() == 2
        if kind == "text":
            assert page.inner_text(".letters") == "a good film"
        if kind == "table":
            assert page.locator(".several select option").count() == 3
            page.get_by_label("The next example").click()
            assert page.locator(".cells tbody tr").all_inner_texts()[0].split("\t")[:2] == ["age", "51"]
        page.get_by_label("Cross-attend").select_option("0")
        page.wait_for_function("() => document.querySelector('.controls select').value === '0'")


def test_several_signals_are_one_example(tmp_path: Path, page: Any) -> None:
    """A film is its pictures and its sound; a file of its own replaces that; the text is written."""
    with listening(run_of("fusion", tmp_path, task=CLASSES)) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        drop(page, {"a.mkv": film(0)})
        page.wait_for_selector("section[data-kind=audio]")
        assert page.locator("#chosen li").count() == 2
        first = page.inner_text(".bars")
        drop(page, {"b.wav": wav(1)})
        page.wait_for_function("first => document.querySelector('.bars').innerText !== first", arg=first)
        assert "b.wav" in page.inner_text("#chosen")
        page.locator("textarea").fill("a good film")
        page.get_by_role("button", name="Ask the model").click()
        page.wait_for_selector("section[data-kind=text]")
        assert page.locator("section.signal small").count() == 3


def test_two_pictures_are_one_example_of_a_model_of_motion(tmp_path: Path, page: Any) -> None:
    """The flow is drawn, and both pictures with the attention over them."""
    model = small_model(PairConfig(size=(8, 8), bands=2), FlowConfig(), decoder=DecoderConfig(query_residual=False))
    checkpoints.save(model, tmp_path)
    with listening(tmp_path) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        assert page.inner_text("#drop-what") == "Drop two pictures here"
        drop(page, {"a.png": png(0), "b.png": png(1)})
        page.wait_for_selector("section[data-kind=pair] img")
        assert page.locator(".several").count() == 0
        assert page.locator(".numbers th").all_inner_texts() == ["mean motion"]
        assert page.locator(".controls input").count() == 0  # the attention is in the picture
        headings = [heading.split("\n")[0] for heading in page.locator("figure h3").all_inner_texts()]
        assert headings == ["First frame", "Prediction"]
        assert "right red" in page.inner_text("#answer")  # what the colours mean
        assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_hidden_words_are_filled_in(tmp_path: Path, page: Any) -> None:
    """Each hole of a written text has its own bars."""
    checkpoints.save(
        small_model(KINDS["text"].config, MLMConfig(), decoder=DecoderConfig(query_residual=False)), tmp_path
    )
    with listening(tmp_path) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        page.locator("textarea").fill("a [MASK]ilm")
        page.get_by_role("button", name="Ask the model").click()
        page.wait_for_selector("section[data-kind=text]")
        assert page.locator("h3", has_text="Hole 1").count() == 1
        assert page.locator(".bars").count() == 1


def test_points_turn_and_films_play(tmp_path: Path, page: Any) -> None:
    with listening(run_of("points", tmp_path / "points", task=CLASSES)) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        drop(page, {"0.xyz": KINDS["points"].files["0.xyz"]})
        shown = page.locator("section[data-kind=points] canvas")
        shown.focus()
        page.keyboard.press("ArrowLeft")
        image = "document.querySelector('section[data-kind=points] canvas').toDataURL()"
        before = page.evaluate(image)
        page.keyboard.press("ArrowUp")
        after = page.evaluate(image)
        assert before != after
        box = shown.bounding_box()
        page.mouse.move(box["x"] + 50, box["y"] + 50)
        page.mouse.down()
        page.mouse.move(box["x"] + 120, box["y"] + 50)
        page.mouse.up()
        assert page.evaluate(image) != after
    with listening(run_of("video", tmp_path / "video", task=CLASSES)) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        drop(page, {"0.mkv": film(0)})
        page.get_by_label("Play the film").click()
        page.wait_for_function("() => Number(document.querySelector('.player input').value) > 0.1")


def test_keys_are_enough(tmp_path: Path, page: Any) -> None:
    """The chooser of files and every control can be reached and has a name; so has every picture."""
    with listening(run_of("image", tmp_path, task=CLASSES)) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "files"
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": png(0)})
        page.wait_for_selector("section[data-kind=image]")
        unnamed = page.evaluate(
            """[...document.querySelectorAll("button, input, select, textarea, canvas, img, [role=img]")].filter(
                (each) => !(each.ariaLabel || each.alt || each.labels?.length || each.innerText?.trim()
                    || each.getAttribute("aria-label"))).map((each) => each.outerHTML)"""
        )
        assert unnamed == []


def test_the_microphone_and_the_camera_are_recorded(tmp_path: Path, page: Any) -> None:
    with listening(run_of("audio", tmp_path / "audio", task=CLASSES)) as address:
        page.goto(address)
        page.get_by_role("button", name="Record sound").click()
        stop = page.get_by_role("button", name=re.compile("Stop"))
        stop.wait_for()
        page.wait_for_timeout(600)
        stop.click()
        page.wait_for_selector("section[data-kind=audio]")
    with listening(run_of("image", tmp_path / "image", task=CLASSES)) as address:
        page.goto(address)
        page.get_by_role("button", name="Use the camera").click()
        page.get_by_role("button", name="Take the picture").click()
        page.wait_for_selector("section[data-kind=image]")


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, browser: Any) -> None:
    """With its reason; what it is called is never markup. (The browser itself reports the status 422.)"""
    context = browser.new_context()
    page = context.new_page()
    with listening(run_of("image", tmp_path, task=CLASSES), token="hush") as address:
        page.goto(address)
        page.wait_for_selector("#access:not([hidden])")
        page.fill("#token", "hush")
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready]")
        drop(page, {"<img src=x>.png": b"no picture"})
        page.wait_for_selector("#status.bad")
        page.wait_for_function("() => document.querySelector('#status').innerText.includes('not a picture')")
        assert page.locator("#status img").count() == 0
    page.wait_for_timeout(10)
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(size: str, tmp_path: Path, page: Any) -> None:
    page.set_viewport_size(SIZES[size])
    with listening(run_of("table", tmp_path, task=CLASSES)) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        drop(page, KINDS["table"].files)
        page.wait_for_selector(".cells")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    names = ClassifyConfig(classes=("bird", "a very long name of a class, of many words indeed"))
    with listening(run_of("image", tmp_path / "image", task=names)) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        drop(page, {"a photograph whose name is much longer than a phone is wide, and then some.png": png(0)})
        page.wait_for_selector("section[data-kind=image]")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
        assert page.evaluate("document.querySelector('.bars .track').offsetWidth") > 60


def test_a_run_is_watched_while_it_trains(tmp_path: Path, page: Any) -> None:
    """Its curves grow as rows come; the report is there when it is written."""
    run = tmp_path / "run"
    run.mkdir()
    with running(create_app(run)) as address:
        page.goto(address)
        for step in range(1, 4):
            append_history(run, {"step": step, "seconds": 2.0 * step, "loss": 1 / step, "val_accuracy": 0.3 * step})
            page.wait_for_selector(f"body[data-rows='{step}']")
        assert page.locator("svg.chart").count() == 2
        assert page.is_hidden("#report")
        report = {"task": "classify", "split": "test", "samples": 10, "primary_metric": "accuracy"}
        (run / "report.json").write_text(json.dumps(report | {"metrics": {"accuracy": 0.9}, "train_seconds": 6.0}))
        (run / "report.html").write_text("<!doctype html><title>the report</title>")
        page.wait_for_selector("#report:not([hidden])")
        assert "90.0 %" in page.inner_text("#cards")
        page.click("#report")
        assert page.title() == "the report"
