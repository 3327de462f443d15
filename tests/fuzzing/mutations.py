"""Damaged and forged session files: one mutation of a sound file for each random generator.

Three kinds: bytes (flips, splices, cuts), the zip's own headers, and content that is packed anew
with right checksums: descriptions changed field by field, chunks, members, images.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np

Random = np.random.Generator
Members = dict[str, bytes]

NUMBERS = [0, -1, 1, 2, 3, 255, 2**31 - 1, 2**31, 2**53, 2**63, 10**12, 10**30, 10**400, -(10**30)]
FLOATS = [0.5, -0.5, 1e-320, 1e300, -1e300, 1.5e308]
TEXTS = [
    "",
    "\x00",
    "\ud800",
    "a\udfff\u202eb",
    "\r\n\x1b[31m",
    "../../etc/passwd",
    "$\\frac{$",
    "$x_{$ <b>&lt;</b>",
    "<img src='file:///etc/passwd'>",
    "x" * 100_000,
    "\u0301" * 3000,
    "NaN",
    "-inf",
    "%s%n{0}",
]
BIG_NUMBERS = (0xFFFFFFFF, 0x7FFFFFFF, 0xFFFF, 0, 1)


def pick(rng: Random, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def members_of(content: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Members) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return buffer.getvalue()


def mutate(content: bytes, rng: Random) -> bytes:
    """The file after one mutation, or a few."""
    kind = rng.random()
    if kind < 0.15:
        for _ in range(int(rng.integers(1, 4))):
            content = pick(rng, BYTES)(content, rng)
        return content
    if kind < 0.35:
        return headers(content, rng)
    members = members_of(content)
    for _ in range(int(pick(rng, (1, 1, 1, 2, 3)))):
        pick(rng, CONTENT)(members, rng)
    return packed(members)


# ------------------------------------------------------------------------------------- bytes


def flip(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(int(pick(rng, (1, 1, 2, 8, 100)))):
        if changed:
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(content: bytes, rng: Random) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def splice(content: bytes, rng: Random) -> bytes:
    """A stretch copied, moved, doubled, removed or made random."""
    at, to = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    to = min(to, at + int(pick(rng, (4, 50, 3000))))
    stretch = pick(rng, (b"", rng.bytes(to - at), content[at:to] * 2, bytes(to - at)))
    where = int(rng.integers(len(content) + 1))
    if rng.random() < 0.5:
        return content[:at] + stretch + content[to:]
    return content[:where] + content[at:to] + content[where:]


def big_number(content: bytes, rng: Random) -> bytes:
    at = int(rng.integers(max(1, len(content) - 4)))
    return content[:at] + struct.pack("<I", pick(rng, BIG_NUMBERS)) + content[at + 4 :]


BYTES = [flip, flip, cut, splice, big_number]


# ----------------------------------------------------------------------------------- headers


# Flags, method, checksum, sizes, lengths of name, extra and comment, disk, attributes, offset.
ENTRY_FIELDS = [(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2)]
ENTRY_FIELDS += [(34, 2), (38, 4), (42, 4)]


def headers(content: bytes, rng: Random) -> bytes:
    """Fields of the list of contents, of its end, and of the members' own headers."""
    changed = bytearray(content)
    end = content.rfind(b"PK\x05\x06")
    at = struct.unpack_from("<I", content, end + 16)[0]
    entries = []
    while content[at : at + 4] == b"PK\x01\x02":
        entries.append(at)
        at += 46 + sum(struct.unpack_from("<3H", content, at + 28))
    for _ in range(int(pick(rng, (1, 1, 2, 5)))):
        kind = rng.random()
        if kind < 0.25:
            base, offset, size = end, *pick(rng, ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4)))
        elif kind < 0.75:
            base = pick(rng, entries)
            offset, size = pick(rng, ENTRY_FIELDS)
        else:
            base = struct.unpack_from("<I", content, pick(rng, entries) + 42)[0]
            offset, size = pick(rng, ((0, 4), (6, 2), (8, 2), (14, 4), (18, 4), (26, 2), (28, 2)))
        _change_number(changed, base + offset, size, content, entries, rng)
    if rng.random() < 0.15:
        # Two entries on the same bytes, or one whole entry for another.
        one, two = pick(rng, entries), pick(rng, entries)
        changed[two + 42 : two + 46] = changed[one + 42 : one + 46]
        if rng.random() < 0.5:
            changed[two + 16 : two + 28] = changed[one + 16 : one + 28]
    return bytes(changed)


def _change_number(
    changed: bytearray, at: int, size: int, content: bytes, entries: list[int], rng: Random
) -> None:
    now = int.from_bytes(changed[at : at + size], "little")
    odd = [0, 1, now + 1, now - 1, now * 2, now ^ (1 << int(rng.integers(8 * size)))]
    odd += [2 ** (8 * size) - 1, 2 ** (8 * size - 1), len(content), 8, 12, 14, 99]
    odd.append(int.from_bytes(content[pick(rng, entries) + 42 :][:4], "little"))
    changed[at : at + size] = (int(pick(rng, odd)) % 2 ** (8 * size)).to_bytes(size, "little")


# ----------------------------------------------------------------------------------- content


def one_field(members: Members, rng: Random) -> None:
    """One value of one description replaced by an odd one that looks like it."""
    names = [n for n in members if n.endswith("zarr.json")]
    groups = [n for n in names if n.count("/") in (0, 2) and not n.startswith("images/")]
    name = pick(rng, groups if groups and rng.random() < 0.75 else names)
    try:
        document = json.loads(members[name])
    except (ValueError, RecursionError):
        return
    holder, key = _some_place(document, rng)
    if key is None:
        return
    if isinstance(holder, dict) and rng.random() < 0.1:
        holder[pick(rng, TEXTS)] = holder.pop(key)
    elif rng.random() < 0.1:
        del holder[key]
    else:
        holder[key] = odd_like(holder[key], rng)
    members[name] = written(document)


def written(document: Any) -> bytes:
    # Lone surrogates and NaN as a hostile writer would put them: escaped, and bare.
    return json.dumps(document).encode()


def _some_place(document: Any, rng: Random) -> tuple[Any, Any]:
    """A container in the document and a key in it, near the root as often as deep."""
    holder, key = document, None
    value = document.get("attributes", document) if isinstance(document, dict) else document
    if rng.random() < 0.1:
        value = document
    while isinstance(value, dict | list) and value:
        holder = value
        key = pick(rng, list(value)) if isinstance(value, dict) else int(rng.integers(len(value)))
        value = holder[key]
        if rng.random() < 0.3:
            break
    return holder, key


def odd_like(value: Any, rng: Random) -> Any:
    if rng.random() < 0.15:
        return pick(rng, (None, True, -1, 1.5, "x", [], {}, [[]], [None], {"a": 1}, [1] * 5000))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = [value + 1, value - 1, 2 * value, -value, value / 2, str(value), float(value)]
        return pick(rng, near + NUMBERS + [float("nan"), float("inf")])
    if isinstance(value, float) and value == value:
        return pick(
            rng,
            [-value, round(min(max(value, -9), 9)), *FLOATS, *NUMBERS, float("nan"), float("-inf")],
        )
    if isinstance(value, str):
        near = [value + "x", value.upper(), value[:-1], value * 2, value[::-1]]
        return pick(rng, near + TEXTS)
    if isinstance(value, list):
        near = [value[:-1], value[1:], value[::-1], value * 2, value + value[:1], [value], []]
        near += [value[:1] * 3000, sorted(value, key=repr), [odd_like(v, rng) for v in value[:9]]]
        return pick(rng, near)
    if isinstance(value, dict):
        return pick(
            rng,
            [
                {},
                list(value),
                {**value, "x": value},
                {k: odd_like(v, rng) for k, v in value.items()},
            ],
        )
    return pick(rng, NUMBERS + TEXTS)


def chunk(members: Members, rng: Random) -> None:
    """Numbers that no model makes, in a chunk of the right size."""
    names = [n for n in members if "/c." in n and n.startswith("runs/")]
    if not names:
        return
    array = pick(rng, sorted({n.split("/")[2] for n in names}))
    here = [n for n in names if n.split("/")[2] == array]
    for name in here if rng.random() < 0.5 else [pick(rng, here)]:
        content = members[name]
        whole = numcodecs.Blosc("lz4", clevel=1, shuffle=numcodecs.Blosc.BITSHUFFLE)
        kind = np.dtype(
            {"top_dims": "<i4", "value_norm": "<f2", "attention": "<f2"}.get(array, "<f4")
        )
        try:
            plain = whole.decode(content) if array == "attention" else content
            values = np.frombuffer(plain, kind).copy()
        except (RuntimeError, ValueError):
            continue
        odd: list[Any] = [0, -1, 1, 9999]
        odd += [2**31 - 1, -(2**31)] if kind.kind == "i" else [np.nan, np.inf, -np.inf, 6e4, 1e-7]
        where = slice(None) if rng.random() < 0.3 else rng.random(values.size) < 0.05
        values[where] = pick(rng, odd)
        if rng.random() < 0.1:
            values = np.frombuffer(rng.bytes(values.nbytes), kind).copy()
        plain = values.tobytes()
        members[name] = bytes(whole.encode(plain)) if array == "attention" else plain


def broken_chunk(members: Members, rng: Random) -> None:
    """A chunk whose bytes are wrong and whose checksum is right."""
    names = [n for n in members if "/c." in n]
    if names:
        name = pick(rng, names)
        members[name] = pick(rng, BYTES)(members[name], rng)


def member(members: Members, rng: Random) -> None:
    """A member left out, renamed, doubled under another name, or exchanged for another."""
    one, two = pick(rng, list(members)), pick(rng, list(members))
    kind = rng.integers(4)
    if kind == 0:
        del members[one]
    elif kind == 1:
        members[pick(rng, ("../x", "/x", "C:x", "runs/zarr.json/x", "é", two + "x"))] = members.pop(
            one
        )
    elif kind == 2:
        members[one] = members[two]
    else:
        members[one], members[two] = members[two], members[one]


def deep(members: Members, rng: Random) -> None:
    """A description that is nested beyond measure, long, or no JSON."""
    name = pick(rng, [n for n in members if n.endswith("zarr.json")] or list(members))
    members[name] = pick(
        rng,
        (
            b"[" * 200_000,
            b'{"a":' * 100_000,
            b'{"attributes":' + b"[" * 500 + b"]" * 500 + b"}",
            b" " * 3_000_000 + b"{}",
            members[name] + b"x",
            b"\xef\xbb\xbf" + members[name],
            members[name].decode("utf-8", "replace").encode("utf-16"),
            members[name].replace(b"0", b"\xff"),
            members[name].replace(b"1", b"1e999"),
            members[name].replace(b'"', b"'"),
        ),
    )


def nested_view(members: Members, rng: Random) -> None:
    """A view that is nested as deeply as JSON can be read."""
    try:
        document = json.loads(members["zarr.json"])
        depth = int(pick(rng, (50, 300, 900, 4000)))
        document["attributes"]["view"] = {"a": 0}
        text = json.dumps(document).replace('{"a": 0}', '{"a":' * depth + "0" + "}" * depth)
    except (KeyError, TypeError, ValueError, RecursionError):
        return
    members["zarr.json"] = text.encode()


def image(members: Members, rng: Random) -> None:
    """Another picture in place of one, mostly under its own hash."""
    names = [n for n in members if n.startswith("images/") and "/c." in n]
    if not names:
        return
    name = pick(rng, names)
    old, new = members[name], pick(rng, HOSTILE_IMAGES)()
    members[name] = new
    if rng.random() < 0.8:
        was, now = (hashlib.sha256(content).hexdigest().encode() for content in (old, new))
        size = str(len(new)).encode()
        described = name.replace("c.0", "zarr.json")
        for member, content in members.items():
            if member.endswith("zarr.json"):
                members[member] = content.replace(was, now)
        if described in members:
            lengths = str(len(old)).encode()
            members[described] = members[described].replace(lengths, size)


def png(width: int, height: int, colour: int = 2, depth: int = 8, rows: int = 3) -> bytes:
    """A PNG that declares a size and holds few rows of it."""

    def part(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = b""
    if rows:
        line = bytes(1 + width * {0: 1, 2: 3, 6: 4}[colour] * depth // 8)
        data = zlib.compress(line * rows, 9)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", data) + part(b"IEND", b"")


HOSTILE_IMAGES: list[Callable[[], bytes]] = [
    lambda: b"",
    lambda: b"x" * 100,
    lambda: png(100_000, 100_000, rows=1),
    lambda: png(13_000, 13_000, rows=1),
    lambda: png(2**31 - 1, 1, rows=0, colour=0),
    lambda: png(0, 5),
    lambda: png(1, 1),
    lambda: png(200, 1, depth=16),
    lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n",
    lambda: b"GIF89a\x05\x00\x05\x00\x80\x00\x00" + bytes(6) + b"!\xf9\x04\0\0\0\0\0" * 5000,
    lambda: b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
]

CONTENT = [
    *[one_field] * 8,
    chunk,
    chunk,
    chunk,
    broken_chunk,
    broken_chunk,
    member,
    deep,
    nested_view,
    image,
]
