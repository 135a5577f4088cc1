"""Text of a drawing: line wrapping, truncation, and the bar below an image."""

from PIL import Image, ImageDraw

from lxmert.vision.drawing.fonts import Font, load_font
from lxmert.vision.drawing.style import INK, PAPER, SOFT_INK, Colour


def add_text_bar(image: Image.Image, title: str | None, caption: str | None, font_px: int) -> Image.Image:
    """Return an image extended by a title and a caption below; the image itself without either."""
    margin = round(font_px * 1.1)
    lines: list[tuple[str, int, Font, Colour]] = []
    for words, size, colour in (
        (title, round(font_px * 1.25), SOFT_INK if caption else INK),
        (caption, round(font_px * 1.6), INK),
    ):
        if words:
            font = load_font(size, words)
            lines += [(line, size, font, colour) for line in wrap_text(words, font, image.width - 2 * margin)]
    if not lines:
        return image
    leading = 1.35
    height = round(sum(size * leading for _, size, *_ in lines) + 1.7 * margin)
    sheet = Image.new("RGB", (image.width, image.height + height), PAPER)
    sheet.paste(image)
    draw = ImageDraw.Draw(sheet)
    y = image.height + 0.85 * margin
    for line, size, font, colour in lines:
        draw.text((margin, y + size * leading / 2), line, fill=colour, font=font, anchor="lm")
        y += size * leading
    return sheet


def wrap_text(text: str, font: Font, width: float) -> list[str]:
    """Wrap text to lines of at most `width` pixels, breaking words that are wider."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
            while font.getlength(line) > width and len(line) > 1:
                fits = next(
                    n for n in range(len(line) - 1, 0, -1) if n == 1 or font.getlength(line[:n]) <= width
                )
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines


def truncate_text(text: str, font: Font, width: float) -> str:
    """Truncate text to `width` pixels, with an ellipsis where it was cut."""
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"
