"""Names that three systems accept, from any prompt."""

import os
import re
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_mcp.storage.names import check_filename, find_name_change, fit_stem, make_slug, make_stem
from wan_mcp_tools.domain.errors import RequestRefusedError
from wan_mcp_tools.domain.tasks import NameReason

ORDER = "0385dc79-5ff8-4d82-bcb6-bcb5e11e1d2b"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}


def name(prompt="A flower shop", *, filename=None, count=1, index=1, order_id=ORDER, created_at=NOON):
    return make_stem(
        prompt=prompt, created_at=created_at, order_id=order_id, index=index, count=count, filename=filename
    )


def assert_legal(stem):
    full = f"{stem}-9999.webp"
    assert PurePosixPath(full).name == full
    assert PureWindowsPath(full).name == full
    assert not re.search(r'[\x00-\x1f\x7f<>:"/\\|?*]', full)
    assert not full.startswith((".", " "))
    assert stem.strip(" .") == stem != ""
    assert stem.split(".")[0].strip().lower() not in DEVICES
    assert len(full.encode()) <= 255
    assert unicodedata.normalize("NFC", stem) == stem
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in full)
    assert not any(
        unicodedata.bidirectional(character)[:2] in ("RL", "LR") for character in full if not character.isalpha()
    )


@given(prompt=st.text(max_size=300), order_id=st.text(min_size=1, max_size=50), index=st.integers(1, 4))
def test_any_prompt_and_any_id_give_a_legal_bounded_name(prompt, order_id, index):
    stem = name(prompt, order_id=order_id, index=index, count=4)

    assert_legal(stem)
    assert len(stem.encode()) <= 8 + 1 + 100 + 1 + 8 + 2
    assert re.fullmatch(r"20261122-.+-[0-9a-z]{1,8}-[1-4]", stem)


@given(st.text(max_size=300))
def test_a_slug_holds_nothing_but_letters_digits_marks_and_single_hyphens(text):
    slug = make_slug(text)

    assert 1 <= len(slug) <= 40
    assert "--" not in slug
    assert slug.strip("-") == slug
    assert all(unicodedata.category(character)[0] in "LNM" for character in slug.replace("-", ""))
    assert unicodedata.category(slug[0])[0] != "M"


@given(st.text(max_size=300))
def test_any_filename_is_refused_or_legal(text):
    try:
        checked = check_filename(text)
    except RequestRefusedError:
        return
    if checked is None:
        assert not text.strip()
        return
    assert_legal(checked)
    assert check_filename(checked) == checked


@given(st.text(max_size=300))
def test_a_name_we_made_ourselves_passes_our_own_check(prompt):
    stem = name(prompt)

    assert check_filename(f"{stem}.png") == stem


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A flower shop with exquisite windows, a beautiful wooden door", "a-flower-shop-with-exquisite-windows-a"),
        ("一间有着精致窗户的花店,漂亮的木质门", "一间有着精致窗户的花店-漂亮的木质门"),
        ("زهرة جميلة", "زهرة-جميلة"),
        ("फूलों की दुकान", "फूलों-की-दुकान"),
        ("Cafe\u0301 am See", "café-am-see"),
        ("a/b\\c:d", "a-b-c-d"),
        ("../../etc/passwd", "etc-passwd"),
        ("line\nbreak\ttab", "line-break-tab"),
        ("x\u202egnp.exe", "xgnp-exe"),
        ("❤️🌸", "image"),
        ("?!…", "image"),
        ("\u3164\u3164", "image"),
        ("", "image"),
        ("CON", "con"),
        ("\u0301\u0301 marks first", "marks-first"),
        ("ab" * 60, "ab" * 20),
    ],
)
def test_a_slug_keeps_the_first_words_of_a_prompt_in_its_own_script(prompt, slug):
    assert make_slug(prompt) == slug


def test_a_name_has_the_day_the_words_the_order_and_the_index():
    assert name() == "20261122-a-flower-shop-0385dc79-1"
    assert name(order_id=f"local-{ORDER}", index=3) == "20261122-a-flower-shop-0385dc79-3"


def test_the_day_of_a_name_is_utc():
    early_in_tokyo = datetime(2026, 11, 23, 3, tzinfo=timezone(timedelta(hours=9)))

    assert name(created_at=early_in_tokyo).startswith("20261122-")


def test_a_filename_is_numbered_only_where_an_order_has_several_images():
    assert name(filename="shop.png") == "shop"
    assert name(filename="shop.png", count=2, index=2) == "shop-2"


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("shop.png", "shop"),
        ("shop.JPEG", "shop"),
        ("shop.webp.png", "shop"),
        ("a.b", "a.b"),
        ("v1.2 final.jpg", "v1.2 final"),
        (" 花店 ", "花店"),
        ("cafe\u0301", "café"),
        ("console", "console"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        (None, None),
        ("  ", None),
    ],
)
def test_a_plain_filename_is_kept_without_its_image_extension(given_name, kept):
    assert check_filename(given_name) == kept


@pytest.mark.parametrize(
    "given_name",
    [
        "../shop", "a/b", "a\\b", "C:shop", "C:\\shop", "shop:stream", "..", ".", ".hidden", ".png", "shop.", "a\0b",
        "a\nb", "con", "NUL.png", "com1.tar", "LPT9 .x", "com¹", "x\u202egnp", "x\ud800", "x\ufeff", "a*b", "a?b",
        'a"b', "a|b", "<a>", "花" * 67, "x" * 201, "x\uffff",
    ],
)  # fmt: skip
def test_a_filename_that_some_system_refuses_or_reads_otherwise_is_refused(given_name):
    with pytest.raises(RequestRefusedError) as refusal:
        check_filename(given_name)

    assert "plain name" in refusal.value.advice
    str(refusal.value).encode()


def test_a_refusal_shows_invisible_characters_as_escapes():
    with pytest.raises(RequestRefusedError) as refusal:
        check_filename("x\u202egnp.exe")

    assert "\u202e" not in refusal.value.message
    assert "\\u202e" in refusal.value.message


def test_a_name_is_cut_where_windows_bounds_the_whole_path():
    folder = PureWindowsPath("C:/Users/someone/Pictures/wan-mcp")
    fitted = fit_stem("花" * 300, folder, ".png", 259)

    assert len(str(folder / f"{fitted}-9999.json")) == 259
    assert fit_stem("🌸" * 300, folder, ".png", 259) == "🌸" * 107
    assert fit_stem("shop", folder, ".png", 259) == "shop"
    assert fit_stem("x" * 300, folder, ".png", None) == "x" * 300


def test_a_folder_that_leaves_no_room_for_a_name_gives_none():
    assert fit_stem("x" * 60, PureWindowsPath("C:/" + "y" * 244), ".png", 259) is None


TAKEN, ENDING = NameReason.TAKEN, NameReason.ENDING


@pytest.mark.parametrize(
    ("wanted", "given", "count", "change"),
    [
        ("hero.jpg", "hero.png", 1, ("hero.jpg", ENDING)),
        ("hero.png", "hero-2.png", 1, ("hero.png", TAKEN)),
        ("hero", "hero-17.png", 1, ("hero", TAKEN)),
        ("hero.JPEG", "hero-2.png", 1, ("hero.jpeg", TAKEN, ENDING)),
        ("hero.webp", "hero-3.png", 4, ("hero-3.webp", ENDING)),
        ("hero.png", "hero-3-2.png", 4, ("hero-3.png", TAKEN)),
        ("hero.gif", "hero.gif.png", 1, ("hero.gif", ENDING)),
        (" hero.jpg ", "hero.png", 1, ("hero.jpg", ENDING)),
        ("v1.2", "v1.2-2.png", 1, ("v1.2", TAKEN)),
    ],
)
def test_a_name_that_became_another_tells_the_wanted_one_and_why(wanted, given, count, change):
    found = find_name_change(wanted, given, index=3 if count > 1 else 1, count=count)

    assert (found.wanted, *found.reasons) == change


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (None, "20261122-fox-0385dc79-1.png"),
        ("", "hero.png"),
        ("hero", "hero.png"),
        ("hero.png", "hero.png"),
        ("hero.jpeg", "hero.jpg"),
        ("hero.jpg.jpg", "hero.jpg"),
        ("hero-2", "hero-2.png"),
        ("v1.2", "v1.2.png"),
        ("hero.jpg", "moved-by-somebody.png"),
        ("a/b", "a.png"),
        ("cafe\u0301", "caf\u00e9.png"),
    ],
)
def test_a_name_as_it_was_wanted_and_one_that_somebody_else_gave_say_nothing(wanted, given):
    assert find_name_change(wanted, given, index=1, count=1) is None


def test_a_name_that_is_no_utf8_is_refused_as_such():
    with pytest.raises(RequestRefusedError, match="bytes that are not UTF-8"):
        check_filename("caf\udce9")


def test_letters_that_the_system_cannot_write_are_left_out():
    program = (
        "from wan_mcp.storage.names import find_name_change, keep_writable\n"
        "print(keep_writable('\\u82b1'), keep_writable('\\u82b1 fox-\\u82b1'),"
        " find_name_change('\\u82b1 fox', 'fox.png', index=1, count=1))"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        env=os.environ | plain,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )

    assert done.stderr == ""
    if os.name != "nt" and sys.platform != "darwin":
        assert done.stdout.startswith("image fox NameChange(wanted='花 fox', reasons=(<NameReason.LETTERS")
