"""The confusion matrix as an image: rows gold, columns predicted, colours by fraction of the row.

Drawn with Pillow, which comes with TensorBoard: matplotlib would take 0.7 s of every run for it.
"""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, MARGIN, FONT_SIZE = 56, 8, 14  # pixels
MAX_COUNT_SIZE = 28  # pixels; the counts shrink if the longest one would not fit its cell
MAX_SIDE = 1200  # the cells shrink if they would need more
MAX_NAMED = 40  # labels; more are too small to read, and are drawn as colours only
BLUE = np.array([8, 48, 107])


def drawable(labels: list[str]) -> list[str]:
    """Labels as drawn: one with a character missing from the font (which is ASCII only) is replaced by its number, from 1."""
    if len(labels) > MAX_NAMED:
        return labels
    missing = _mask("\U0010fffe")
    is_known = [all(_mask(character) != missing for character in label) for label in labels]
    return [label if known else f"#{i}" for i, (label, known) in enumerate(zip(labels, is_known, strict=True), 1)]


@functools.cache
def _mask(character: str) -> bytes:
    """The pixels of a character; all missing ones look the same."""
    try:
        return bytes(ImageFont.load_default(FONT_SIZE).getmask(character))
    except UnicodeError:  # a bitmap font, if Pillow was built without FreeType
        return bytes(ImageFont.load_default(FONT_SIZE).getmask("?"))


def draw_matrix(labels: list[str], matrix: list[list[int]]) -> np.ndarray:
    """(L, L) counts -> (height, width, 3) uint8."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = max(1, min(CELL, MAX_SIDE // len(labels)))
    is_named = len(labels) <= MAX_NAMED
    font = ImageFont.load_default(FONT_SIZE)
    names = (
        [_text_image(label if len(label) <= 20 else label[:19] + "…", font) for label in drawable(labels)]
        if is_named
        else []
    )
    titles = [_text_image(title, font) for title in ("gold", "predicted")]
    border = max((name.width for name in names), default=0) + 2 * MARGIN + titles[0].height + MARGIN
    side = border + cell * len(labels) + MARGIN
    image = Image.new("RGB", (side, side), "white")
    colours = (255 + shares[:, :, None] * (BLUE - 255)).astype(np.uint8)  # white to blue
    image.paste(Image.fromarray(colours.repeat(cell, axis=0).repeat(cell, axis=1)), (border, border))
    middle = border + cell * len(labels) // 2
    _paste_centred(image, titles[0].rotate(90, expand=True), MARGIN + titles[0].height // 2, middle)
    _paste_centred(image, titles[1], middle, MARGIN + titles[1].height // 2)
    for i, name in enumerate(names):
        centre = border + cell * i + cell // 2
        _paste_centred(image, name, border - MARGIN - name.width // 2, centre)
        upright = name.rotate(90, expand=True)
        _paste_centred(image, upright, centre, border - MARGIN - upright.height // 2)
    if is_named:
        _write_counts(ImageDraw.Draw(image), counts, shares, border, cell)
    return np.asarray(image)


def _write_counts(draw: ImageDraw.ImageDraw, counts: np.ndarray, shares: np.ndarray, border: int, cell: int) -> None:
    longest = ImageFont.load_default(MAX_COUNT_SIZE).getbbox(str(counts.max()))[2]
    font = ImageFont.load_default(min(MAX_COUNT_SIZE, cell / 2, MAX_COUNT_SIZE * (cell - 2) / longest))
    for (row, column), count in np.ndenumerate(counts):
        place = (border + cell * column + cell / 2, border + cell * row + cell / 2)
        colour = "white" if shares[row, column] > 0.5 else "black"
        draw.text(place, str(count), fill=colour, font=font, anchor="mm")


def _text_image(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("RGB", (max(1, int(right - left)), max(1, int(bottom - top))), "white")
    ImageDraw.Draw(image).text((-left, -top), text, fill="black", font=font)
    return image


def _paste_centred(image: Image.Image, part: Image.Image, x: int, y: int) -> None:
    image.paste(part, (x - part.width // 2, y - part.height // 2))
