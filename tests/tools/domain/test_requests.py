"""A request as data: what it is kept as, and what two of them have in common."""

from dataclasses import replace

import pytest

from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.requests import ImageRequest, InputChange, InputImage, InputSource, read_reference
from wan_mcp_tools.domain.tasks import describe_inputs

FILE = InputImage(InputSource.FILE, "in/fox.tif", "/home/me/in/fox.tif", "ab" * 32, (InputChange.FORMAT,))
URL = InputImage(InputSource.URL, "https://example.com/a.png?Signature=s3cret#x")
REQUEST = ImageRequest("wan2.7-image", "singapore", "a blue door", "2K", images=(FILE, URL), seed=7)


def test_a_request_comes_back_as_it_was_kept():
    assert ImageRequest.from_dict(REQUEST.to_dict()) == REQUEST
    assert "changes" not in REQUEST.to_dict()["images"][1]


def test_what_a_later_release_does_to_a_picture_is_passed_over():
    values = REQUEST.to_dict()
    values["images"][0]["changes"] = ["format", "something new"]
    assert ImageRequest.from_dict(values).images[0].changes == (InputChange.FORMAT,)


def test_where_a_picture_lies_makes_no_other_picture_and_its_content_does():
    elsewhere = replace(FILE, reference="b.tif", path="/b.tif")
    assert replace(REQUEST, images=(elsewhere, URL)).to_picture() == REQUEST.to_picture()
    assert replace(REQUEST, output_dir="x", filename="y").to_picture() == REQUEST.to_picture()
    assert replace(REQUEST, images=(URL, FILE)).to_picture() != REQUEST.to_picture()
    assert replace(REQUEST, images=(replace(FILE, sha256="cd" * 32), URL)).to_picture() != REQUEST.to_picture()


def test_a_seed_of_ours_makes_no_other_picture_and_one_of_the_caller_does():
    ours = [replace(REQUEST, seed=seed, is_seed_chosen=True).to_picture() for seed in (1, 2)]
    assert ours[0] == ours[1]
    assert replace(REQUEST, seed=1).to_picture() != replace(REQUEST, seed=2).to_picture()


def test_the_signature_of_an_address_is_not_shown():
    assert URL.shown_reference == "https://example.com/a.png"
    assert FILE.shown_reference == "in/fox.tif"


def test_what_is_changed_is_told_in_a_sentence_and_many_are_told_of_in_short():
    assert describe_inputs((URL,)) is None
    assert "picture 2 (fox.tif) in another format" in describe_inputs((URL, FILE))
    many = describe_inputs((FILE,) * 9)
    assert "and 5 more" in many
    assert len(many) < 400


@pytest.mark.parametrize("reference", ["file:///home/me/a.png", "~/a.png", "a#1.png", "C:\\a.png"])
def test_a_file_may_be_named_in_many_ways(reference):
    assert read_reference(reference).source is InputSource.FILE


@pytest.mark.parametrize("reference", ["data:image/png;base64,AAAA", "oss://a/b.png", "ftp://example.com/a.png", " "])
def test_what_is_no_reference_is_refused(reference):
    with pytest.raises(RequestRefusedError):
        read_reference(reference)


@pytest.mark.parametrize(
    "text", ["0385dc79-5ff8-4c3a-9d7e-0123456789ab", "0385dc79-5ff8-4c3a-9d7e-0123456789ab#0", f"local-{'0a' * 16}"]
)
def test_a_task_without_the_number_of_an_image_is_no_input(text):
    with pytest.raises(RequestRefusedError, match="#1 for its first image"):
        read_reference(text)
