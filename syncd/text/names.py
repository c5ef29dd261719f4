"""Names and lengths: file names that are safe anywhere, and texts cut where no reader notices."""

import re
import unicodedata

_MAX_NAME = 120
_MAX_BYTES = 240  # most file systems allow 255 bytes, and a suffix may be added
_MAX_EXTENSION = 20
_MAX_STEP_BACK = 40
_JOINER = "\u200d"

#: Control characters, line separators, direction overrides (they disguise an extension), lone surrogates.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_RESERVED = re.compile(r'[<>:"|?*]+')
#: Skin tones, the tags that spell a regional flag, and the second half of a pair that was never joined.
_MODIFIER = re.compile("[\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\udc00-\udfff]")
_DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|com\d|lpt\d)(?=\.|$)")


def safe_file_name(name: str) -> str:
    """The base name, usable on any system: at most 120 characters with its extension, never empty."""
    base = re.split(r"[/\\]", _UNSEEN.sub("", name).rstrip("/\\"))[-1]
    base = _RESERVED.sub("_", base).strip(" .")
    if _DEVICES.match(base):
        base = f"_{base}"
    return _cut_name(base) or "file"


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis where something was cut, never inside one visible character."""
    if len(text) <= limit:
        return text
    if limit < 1:
        return ""
    return text[: _boundary(text, limit - 1)].rstrip() + "…"


def _cut_name(base: str) -> str:
    stem, dot, extension = base.rpartition(".")
    if not stem or len(extension) > _MAX_EXTENSION:
        stem, dot, extension = base, "", ""
    room = _MAX_NAME - len(dot + extension)
    stem = stem[: _boundary(stem, room)]
    while len((stem + dot + extension).encode()) > _MAX_BYTES:
        stem = stem[: _boundary(stem, len(stem) - 1)]
    return stem.rstrip(" .") + dot + extension if dot else stem.rstrip(" .")


def _boundary(text: str, at: int) -> int:
    """The last place at or before `at` that is not inside a visible character."""
    if at >= len(text):
        return len(text)
    for place in range(at, max(0, at - _MAX_STEP_BACK), -1):
        if not _is_inside(text, place):
            return place
    return at


def _is_inside(text: str, place: int) -> bool:
    """Whether the character at `place` belongs to the one before it: a mark, a joined emoji, half a flag."""
    here, before = text[place], text[place - 1]
    if _JOINER in {here, before} or unicodedata.category(here) in {"Mn", "Me", "Mc"} or _MODIFIER.match(here):
        return True
    return _is_flag_half(here) and _flags_before(text, place) % 2 == 1


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flags_before(text: str, place: int) -> int:
    start = place
    while start and _is_flag_half(text[start - 1]):
        start -= 1
    return place - start
