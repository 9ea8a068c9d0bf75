"""The pages in Chromium: opened from a file, used with mouse and keyboard, looked at by axe, printed.

Screenshots and the printed page stay in pytest's folder of the run (--basetemp names another).
"""

from __future__ import annotations

import gzip
import io
import math
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pages import FLAGS
from PIL import Image

from gliomaseg.cases.case import Case
from gliomaseg.cases.read import read_case
from gliomaseg.imaging.nifti import read_labels
from gliomaseg.labels import Modality
from gliomaseg.report.case_report import Report
from gliomaseg.report.cohort import Entry
from gliomaseg.report.make import ReportInputs, make_report
from gliomaseg.report.pages import cohort_page
from gliomaseg.report.serve import Viewer
from gliomaseg.report.sources import find_sources

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = Path(__file__).parent / "axe" / "axe.min.js"
READY = "html[data-ready=yes]"
Open = Callable[..., "Page"]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a text, or an address, as a page, and proves that nothing went wrong."""
    opened: list[tuple[Page, list[str], list[str]]] = []

    def open_(text: str, *, width: int = 1280, scheme: str = "light", name: str = "page.html") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            bypass_csp=False,
        )
        page = context.new_page()
        problems: list[str] = []
        asked: list[str] = []
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        opened.append((page, problems, asked))
        if text.startswith("http://"):
            page.goto(text)
        else:
            path = tmp_path / name
            path.write_text(text, encoding="utf-8")
            page.goto(path.as_uri())
        page.wait_for_selector(READY)
        return page

    yield open_
    for page, problems, asked in opened:
        assert problems == []
        outside = [u for u in asked if not u.startswith(("file:", "data:", "blob:", "http://127.0.0.1:"))]
        assert outside == [], "nothing is asked of the network"
        page.context.close()


def array(report: Report, name: str) -> np.ndarray:  # type: ignore[type-arg]
    data = np.frombuffer(gzip.decompress(report.volumes[name]), np.uint8)
    return data.reshape(report.about.slices.crop.shape, order="F")


def state(page: Page, expression: str) -> Any:
    """Return a value of the viewer, after the frame in which it is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(f"() => gliomaseg.{expression}")


def pixel(page: Page, plane: int, voxel: list[int]) -> list[int]:
    """Return red, green and blue where a voxel's middle is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return list(
        page.evaluate(
            """([plane, voxel]) => {
              const view = gliomaseg.views[plane], place = gliomaseg.toCanvas(view, voxel).map(Math.floor);
              return [...view.canvas.getContext("2d").getImageData(...place, 1, 1).data.slice(0, 3)];
            }""",
            [plane, voxel],
        )
    )


def plain(page: Page) -> None:
    """Leave nothing but the voxels, as they are."""
    for name in ("outlines", "lines", "crosshair", "smooth", "brain"):
        if page.locator(f"#{name}").count():
            page.uncheck(f"#{name}")
    page.fill("#opacity", "0")


def axe(page: Page) -> list[str]:
    """Return what axe finds serious or critical."""
    page.context.new_cdp_session(page).send("Page.setBypassCSP", {"enabled": True})
    page.reload()
    page.wait_for_selector(READY)
    page.add_script_tag(path=AXE)
    found = page.evaluate("() => axe.run()")
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:160]}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]


def check_voxels(page: Page, report: Report) -> None:
    """Compare pixels of all three planes, in every sequence, with the array at those voxels."""
    plain(page)
    random, shape = np.random.default_rng(0), report.about.slices.crop.shape
    for channel in report.about.slices.channels:
        page.check(f"input[name=channel][value={channel.name}]")
        values, (low, high) = array(report, channel.name), channel.window
        for plane, axis in enumerate((2, 1, 0)):
            voxel = [int(random.integers(n // 4, 3 * n // 4)) for n in shape]
            page.locator("input[type=range][id^=slice-]").nth(plane).fill(str(voxel[axis]))
            value = int(values[tuple(voxel)])
            wanted = round(min(max((value - low) / (high - low), 0), 1) * 255) if value else 0
            found = pixel(page, plane, voxel)
            assert found[0] == found[1] == found[2]
            assert abs(found[0] - wanted) <= 1, (channel.name, plane, voxel)


def test_pixels_are_the_voxels(open_page: Open, report: Report) -> None:
    check_voxels(open_page(report.page()), report)


def test_the_report_of_a_real_case(open_page: Open, real_cases: list[Case]) -> None:
    case = real_cases[0]
    assert case.reference is not None
    seg = read_labels(case.reference, case.scheme)
    report = make_report(ReportInputs(case.id, seg, read_case(case, tuple(Modality))))
    text = report.page()
    assert len(text) < 12_000_000
    check_voxels(open_page(text), report)


def test_the_brain_of_a_raw_exam(open_page: Open, raw_report: Report) -> None:
    """The head is dimmed outside the mask, whose edge can be hidden; slices have native numbers, too."""
    page = open_page(raw_report.page())
    native = raw_report.about.slices.native
    assert native
    for plane, axis in enumerate((2, 1, 0)):
        index = state(page, f"state.cursor[{axis}]")
        number = int(np.floor(native.first[axis] + native.steps[axis] * index + 0.5)) + 1
        words = f"slice {number} of {native.counts[axis]} in t1c"
        assert page.locator(".plane label").nth(plane).text_content().split("\n")[1] == words  # type: ignore[union-attr]
        assert words in str(page.locator(".plane canvas").nth(plane).get_attribute("aria-label"))
    plain(page)
    brain, grey = array(raw_report, "brain"), array(raw_report, "t1c")
    low, high = next(c.window for c in raw_report.about.slices.channels if c.name == "t1c")
    levels = np.clip((grey.astype(float) - low) / (high - low), 0, 1) * 255
    voxel = [int(v) for v in np.argwhere((brain == 0) & (levels > 100))[40]]
    page.evaluate("voxel => { gliomaseg.state.cursor = voxel; gliomaseg.redraw(); }", voxel)
    assert abs(pixel(page, 0, voxel)[0] - levels[tuple(voxel)] / 2) <= 2
    assert "outside the brain mask" in str(page.text_content("#readout"))
    page.check("#brain")
    with_edge = page.locator("#canvas-axial").screenshot()
    page.locator("#canvas-axial").press("b")
    assert state(page, "state.brain") is False
    assert page.locator("#canvas-axial").screenshot() != with_edge
    assert axe(page) == []


def test_mouse_and_keyboard(open_page: Open, report: Report) -> None:
    page = open_page(report.page())
    axial, start = page.locator("#canvas-axial"), list(report.about.slices.start)
    assert state(page, "state.cursor") == start
    axial.hover()
    page.mouse.wheel(0, -120)
    assert state(page, "state.cursor[2]") == start[2] + 3
    axial.focus()
    page.keyboard.press("ArrowDown")
    assert state(page, "state.cursor[2]") == start[2] + 2
    page.keyboard.press("3")
    assert state(page, "state.channel") == "t2w"
    page.keyboard.press("o")
    assert state(page, "state.opacity") == 0
    page.keyboard.press("t")
    assert state(page, "state.cursor") == start
    box = axial.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.45
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 10, y + 5)
    page.mouse.up()
    moved = state(page, "state.cursor")
    assert moved[2] == start[2]
    assert moved != start
    assert f"{report.about.slices.crop.first[0] + moved[0] + 1} of" in page.inner_text("#label-sagittal")
    before = state(page, "state.windows.t2w")
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 40, y)
    page.mouse.up(button="right")
    after = state(page, "state.windows.t2w")
    assert after[1] - after[0] == pytest.approx(before[1] - before[0] + 40)
    assert state(page, "state.cursor") == moved, "windowing moves no crosshair"
    page.mouse.dblclick(x, y)
    assert state(page, "state.windows.t2w") == list(report.about.slices.channels[2].window)


def test_the_left_of_the_page_is_the_patients_right(open_page: Open, report: Report) -> None:
    page = open_page(report.page())
    shape = report.about.slices.crop.shape
    right, left = [shape[0] - 1, 5, 5], [0, 5, 5]
    place = "([p, v]) => gliomaseg.toCanvas(gliomaseg.views[p], v)"
    for plane in (0, 1):
        assert page.evaluate(place, [plane, right])[0] < page.evaluate(place, [plane, left])[0]
    front, back = [5, shape[1] - 1, 5], [5, 0, 5]
    assert page.evaluate(place, [0, front])[1] < page.evaluate(place, [0, back])[1]
    assert page.evaluate(place, [2, front])[0] < page.evaluate(place, [2, back])[0]
    top, bottom = [5, 5, shape[2] - 1], [5, 5, 0]
    for plane in (1, 2):
        assert page.evaluate(place, [plane, top])[1] < page.evaluate(place, [plane, bottom])[1]


@pytest.mark.parametrize("size", [(22, 22), (60, 30), (120, 110)])
def test_the_lengths_of_a_lesion_do_not_overlap(
    open_page: Open, report: Report, size: tuple[float, float]
) -> None:
    """At 2.2 pixels a mm, 22 pixels are the 10 mm from which a lesion is measurable."""
    page = open_page(report.page())
    for angle in range(0, 180, 15):
        lines = []
        for turn, length in zip((angle, angle + 90), size, strict=True):
            x, y = (length / 2 * f(math.radians(turn)) for f in (math.cos, math.sin))
            lines.append([[200 - x, 200 - y], [200 + x, 200 + y]])
        (x1, y1), (x2, y2) = page.evaluate("(lines) => gliomaseg.labelSpots(lines, 9)", lines)
        assert abs(x1 - x2) > 56 or abs(y1 - y2) > 14, "a label is 56 pixels wide and 14 high"


def test_a_region_can_be_hidden_and_filled(open_page: Open, report: Report) -> None:
    page = open_page(report.page())
    labels = array(report, "seg")
    z = report.about.slices.start[2]
    oedema = np.argwhere(labels[:, :, z] == 2)
    voxel = [*map(int, oedema[len(oedema) // 2]), z]
    plain(page)
    grey = pixel(page, 0, voxel)
    page.fill("#opacity", "60")
    tinted = pixel(page, 0, voxel)
    assert tinted[0] > tinted[2] + 20, "oedema is yellow"
    page.uncheck("input[name=part][value=wt]")
    assert pixel(page, 0, voxel) == grey


def test_a_label_map_without_images_is_shown(open_page: Open, exam: ReportInputs) -> None:
    report = make_report(ReportInputs("alone", exam.segmentation))
    page = open_page(report.page())
    assert state(page, "state.cursor") == list(report.about.slices.start)
    assert "No images were given" in page.inner_text("header")
    page.fill("#opacity", "100")
    voxel = [*map(int, np.argwhere(array(report, "seg") == 3)[0])]
    page.locator("input[type=range][id^=slice-]").nth(0).fill(str(voxel[2]))
    assert pixel(page, 0, voxel) != [0, 0, 0]


def test_agreement_is_coloured_and_the_worst_slice_found(open_page: Open, compared: Report) -> None:
    page = open_page(compared.page())
    assert "Against the reference" in page.inner_text("main")
    one, other = array(compared, "seg"), array(compared, "reference")
    differ = (one > 0) != (other > 0)
    page.click("#worst")
    worst = [int(differ.sum(axis=tuple(o for o in range(3) if o != axis)).argmax()) for axis in range(3)]
    assert state(page, "state.cursor") == worst
    plain(page)
    page.fill("#opacity", "100")
    kinds = {kind.name: kind.colour for kind in compared.about.slices.kinds}
    for name, mask in (("tp", (one > 0) & (other > 0)), ("fp", (one > 0) & ~(other > 0))):
        x, y = np.argwhere(mask[:, :, worst[2]])[0]
        colour = [int(kinds[name][i : i + 2], 16) for i in (1, 3, 5)]
        assert pixel(page, 0, [int(x), int(y), worst[2]]) == pytest.approx(colour, abs=2)
    page.select_option("#region", "et")
    page.click("#worst")
    differ = (one == 3) != (other == 3)
    assert state(page, "state.cursor[2]") == int(differ.sum(axis=(0, 1)).argmax())


def test_3d_or_its_absence_in_words(open_page: Open, report: Report) -> None:
    page = open_page(report.page())
    has_webgl = page.evaluate("() => Boolean(document.createElement('canvas').getContext('webgl2'))")
    assert page.is_visible("#three-show") is has_webgl
    if not has_webgl:
        assert "WebGL 2" in page.inner_text("#three-words")


def test_3d_is_drawn_where_webgl_is(browser: Browser, report: Report, tmp_path: Path) -> None:
    """A browser with WebGL in software: NiiVue loads under the page's strict policy and draws."""
    flags = [*(flag for flag in FLAGS if flag != "--disable-gpu"), "--use-angle=swiftshader"]
    path = tmp_path / "page.html"
    path.write_text(report.page(), encoding="utf-8")
    software = browser.browser_type.launch(
        executable_path=shutil.which("chromium"), args=[*flags, "--enable-unsafe-swiftshader"]
    )
    try:
        page = software.new_page()
        problems: list[str] = []
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.goto(path.as_uri())
        page.wait_for_selector(READY)
        if not page.is_visible("#three-show"):
            pytest.skip("this Chromium has no WebGL in software")
        page.click("#three-show")
        page.wait_for_selector("#three-words:has-text('NiiVue')", timeout=60_000)
        page.wait_for_timeout(500)
        picture = np.asarray(
            Image.open(io.BytesIO(page.locator("#three canvas").screenshot())).convert("RGB")
        )
        red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
        assert (picture.max(axis=-1) > 60).mean() > 0.02, "the brain is drawn"
        assert ((red - blue) > 80).sum() > 50, "and the enhancing tumour"
        assert problems == []
    finally:
        software.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, compared: Report, report: Report, scheme: str) -> None:
    assert axe(open_page(compared.page(), scheme=scheme)) == []
    entries = [Entry.of(report, "a.html"), Entry.of(compared, "b.html")]
    assert axe(open_page(cohort_page(entries), scheme=scheme, name="cohort.html")) == []


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_kept_as_a_picture(
    open_page: Open, compared: Report, width: int, scheme: str, tmp_path: Path
) -> None:
    entries = [Entry.of(compared, "b.html")] * 3
    for name, text in (("case", compared.page()), ("cohort", cohort_page(entries))):
        page = open_page(text, width=width, scheme=scheme, name=f"{name}.html")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)


def test_it_prints(open_page: Open, report: Report, tmp_path: Path) -> None:
    data = open_page(report.page()).pdf(path=tmp_path / "report.pdf", format="A4")
    assert data.startswith(b"%PDF")
    assert len(data) > 50_000


def test_the_cohort_sorts_and_filters(open_page: Open, report: Report, compared: Report) -> None:
    page = open_page(cohort_page([Entry.of(report, "a.html"), Entry.of(compared, "b.html")]))
    first = "() => document.querySelector('#cases tbody tr:not([hidden]) th').textContent"
    page.click("#cases thead button:text-is('case')")
    assert page.evaluate(first) == "case-1"
    page.click("#cases thead button:text-is('case')")
    assert page.evaluate(first) == "case-2"
    page.fill("#find", "case-1")
    assert page.evaluate(first) == "case-1"
    assert page.inner_text("#count") == "1 of 2 cases shown"


def test_the_served_pages_work_too(open_page: Open, results: Path, report: Report) -> None:
    with Viewer(find_sources(results)) as viewer:
        thread = threading.Thread(target=viewer.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            page = open_page(viewer.address)
            page.click("text=case-1")
            page.wait_for_selector("#canvas-axial")
            page.wait_for_selector(READY)
            page.wait_for_function("() => gliomaseg.volumes.t2f")
            check_voxels(page, report)
            page.click("text=All cases")
            page.wait_for_selector("#cases")
        finally:
            viewer.shutdown()
            thread.join()
