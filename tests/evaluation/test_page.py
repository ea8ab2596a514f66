"""The page: everything inside it, nothing of a caption executed, every number with its protocol."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from t2i_jax.evaluation.card import Shown
from t2i_jax.evaluation.compare import read
from t2i_jax.evaluation.page import page, png, strip


@pytest.fixture(scope="module")
def text(tiny_card):
    return (tiny_card / "card.html").read_text(encoding="utf-8")


class Tags(html.parser.HTMLParser):
    """All tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(text):
    tags = Tags(text).found
    sources = [attributes["src"] for tag, attributes in tags if "src" in attributes]
    assert len(sources) > 50 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in tags}
    assert all(attributes["href"].startswith("#") for tag, attributes in tags if tag == "a")
    assert "url(" not in text and "@import" not in text


def test_every_figure_links_to_a_protocol_that_is_there(text, tiny_card):
    card = read(tiny_card)
    tags = Tags(text).found
    links = [attributes["href"][1:] for tag, attributes in tags if tag == "a"]
    assert len(links) == len(card["figures"]) and set(links) == set(card["protocols"])
    assert set(card["protocols"]) <= {attributes.get("id") for _, attributes in tags}


def test_captions_are_text(tiny_card):
    caption = "<script>alert('x')</script> & co"
    picture = np.zeros((16, 16, 3), np.uint8)
    shown = Shown({"train": [{"caption": caption, "pictures": {"real": picture}}]}, [], [])
    text = page(read(tiny_card), shown)
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_pictures_come_through_unchanged(rng=np.random.default_rng(0)):
    decode = lambda uri: np.asarray(Image.open(io.BytesIO(base64.b64decode(re.sub("^.*,", "", uri)))))
    pictures = rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(decode(png(pictures[0])), pictures[0])
    np.testing.assert_array_equal(decode(strip(pictures)), np.concatenate(list(pictures), axis=1))
    np.testing.assert_array_equal(decode(png(pictures[0][..., :1])), pictures[0][..., 0])
