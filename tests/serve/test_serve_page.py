"""The page by which a model is tried, in a real browser where there is one."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import NAMES, Browser, executable
from PIL import Image
from serving import Server
from sklearn.datasets import load_digits

pytestmark = pytest.mark.skipif(
    executable() is None, reason=f"no browser: none of {', '.join(NAMES)} is on the PATH"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


def alone(browser: Browser, server: Server) -> bool:
    """Whether the page asked nobody else, and the browser found nothing wrong."""
    here = f"127.0.0.1:{server.port}/"
    strange = [a for a in browser.addresses() if here not in a and not a.startswith("data:")]
    return not strange and not browser.faults()


@pytest.fixture(autouse=True)
def _anew(browser: Browser) -> None:
    browser.said.clear()


def test_a_row_is_filled_in_and_answered(browser: Browser, rows: Server) -> None:
    browser.go(f"http://127.0.0.1:{rows.port}/")
    assert browser.run("document.querySelectorAll('#ask input').length") == 4

    browser.run("document.querySelector('#ask .quiet').click()")
    browser.run("document.querySelector('#ask button').click()")
    browser.until("document.querySelectorAll('.bar').length === 3")

    shares = browser.run(
        "[...document.querySelectorAll('.share')].map(s => parseFloat(s.innerText))"
    )
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert "curl" in browser.run("document.getElementById('command').textContent")
    assert alone(browser, rows)


def test_a_wrong_row_is_told_of(browser: Browser, rows: Server) -> None:
    browser.go(f"http://127.0.0.1:{rows.port}/")

    browser.run("document.querySelector('#ask input').value = '<img src=x onerror=alert(1)>'")
    browser.run("document.querySelector('#ask button').click()")
    browser.until("!document.getElementById('fault').hidden")

    said = browser.run("document.getElementById('fault').innerText")
    assert "expected a finite number" in said
    assert browser.run("document.querySelectorAll('#fault *').length") == 0


def test_a_picture_is_chosen_and_answered(
    browser: Browser, guarded: Server, tmp_path: Path
) -> None:
    shown = (load_digits().images[3] * 15.9).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(shown).save(out, "PNG")
    (tmp_path / "three.png").write_bytes(out.getvalue())
    browser.ask("Network.setExtraHTTPHeaders", headers=guarded.headers())
    browser.go(f"http://127.0.0.1:{guarded.port}/")

    browser.choose("input[type=file]", tmp_path / "three.png")
    browser.until("document.querySelectorAll('.bar').length === 10")

    assert browser.run("document.querySelector('.drop img').naturalWidth") == 8
    assert alone(browser, guarded)
    browser.ask("Network.setExtraHTTPHeaders", headers={})


def test_a_text_is_written_as_it_comes_and_can_be_stopped(browser: Browser, writer: Server) -> None:
    browser.go(f"http://127.0.0.1:{writer.port}/")
    browser.run("document.getElementById('prompt').value = 'def run(self'")

    browser.run("document.querySelector('#ask button').click()")
    browser.until("document.querySelector('.took')?.textContent.includes('tokens,')")
    whole = browser.run("document.querySelector('.fresh').textContent")
    browser.run("document.querySelector('#ask button').click()")
    browser.run("document.querySelector('#ask .quiet').click()")
    browser.until("document.querySelector('#ask .quiet').disabled")

    assert len(whole) > 20
    assert browser.run("document.querySelector('.prompt').textContent") == "def run(self"
    assert alone(browser, writer)


def test_an_answer_is_explained_on_the_page(browser: Browser, rows: Server) -> None:
    browser.go(f"http://127.0.0.1:{rows.port}/")
    browser.run("document.querySelector('#ask .quiet').click()")
    browser.run("document.querySelector('#ask button').click()")
    browser.until("document.querySelector('.why button')")

    browser.run("document.querySelector('.why button').click()")
    browser.until("document.querySelectorAll('.why dt').length === 4")

    assert "=" in browser.run("document.querySelector('.why dt').innerText")
    assert alone(browser, rows)
