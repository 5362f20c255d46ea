#!/usr/bin/env python3
"""Draws the pictures of the book: `python3 docs/book/diagrams.py` writes them, `--check` compares them with what is committed.

A chapter's pictures are in `diagrams/NN.py`: functions that return a `Drawing`, named in its list `DRAWINGS`. Same input, same bytes: nothing here asks for the
time, the machine or a font's size.
"""

import importlib.util
import math
import pathlib
import sys
from xml.sax.saxutils import escape

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = HERE / "src" / "images"
DATA = HERE / "data"

# One palette for all. The card is light on every page, so the ink may be dark.
CARD, INK, FAINT = "#fbfaf7", "#22303c", "#7b8794"
BLUE, RED, GREEN, GOLD, VIOLET = "#2563a8", "#c0392b", "#2e7d4f", "#b7791f", "#6b4fa0"
FILL = {INK: "#eef1f4", BLUE: "#dfeaf6", RED: "#f9e3df", GREEN: "#dff0e5", GOLD: "#f8ecd2", VIOLET: "#e9e2f5", FAINT: "#f3f4f5"}
FONT = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, monospace"


def number(value):
    """A coordinate, as short as it can be written."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


class Drawing:
    """A picture of `width` by `height` on a card; `title` is for who cannot see it. Helpers return the drawing itself."""

    def __init__(self, width, height, title):
        self.width, self.height, self.title, self.parts = width, height, title, []

    def add(self, markup):
        """Raw markup, where no helper fits."""
        self.parts.append(markup)
        return self

    def label(self, x, y, text, size=15, colour=INK, anchor="middle", mono=False, bold=False):
        """Text with its baseline at `y`; lines end with a line feed. `anchor`: start, middle, end."""
        family = f' font-family="{MONO}"' if mono else ""
        weight = ' font-weight="600"' if bold else ""
        for row, line in enumerate(text.split("\n")):
            self.add(
                f'<text x="{number(x)}" y="{number(y + row * size * 1.3)}" font-size="{size}" fill="{colour}" '
                f'text-anchor="{anchor}"{family}{weight} xml:space="preserve">{escape(line)}</text>'
            )
        return self

    def box(self, x, y, width, height, title="", below="", colour=INK, dashed=False, mono=False):
        """A rounded box with a bold title and smaller lines below it, both in its middle."""
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.add(
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" rx="8" '
            f'fill="{FILL[colour]}" stroke="{colour}" stroke-width="1.6"{dash}/>'
        )
        rows = below.split("\n") if below else []
        top = y + height / 2 - len(rows) * 8.5 + 5
        if title:
            self.label(x + width / 2, top, title, colour=colour, bold=True, mono=mono)
        for row, line in enumerate(rows):
            self.label(x + width / 2, top + 19 + row * 17 - (0 if title else 11), line, size=13, mono=mono)
        return self

    def line(self, x1, y1, x2, y2, colour=INK, dashed=False, width=1.8):
        """A line without heads."""
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        return self.add(
            f'<path d="M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}" stroke="{colour}" '
            f'stroke-width="{width}" fill="none"{dash}/>'
        )

    def arrow(self, x1, y1, x2, y2, text="", colour=INK, both=False, dashed=False, lost=False, mono=False, size=13):
        """An arrow with a text over its middle; `both` has two heads, `lost` ends in a cross on half of its way."""
        if lost:
            x2, y2 = x1 + (x2 - x1) * 0.6, y1 + (y2 - y1) * 0.6
        self.line(x1, y1, x2, y2, colour, dashed)
        if lost:
            self.label(x2, y2 + 7, "×", size=22, colour=RED, bold=True)
        else:
            self._head(x1, y1, x2, y2, colour)
        if both:
            self._head(x2, y2, x1, y1, colour)
        if text:
            rows = text.count("\n")
            self.label((x1 + x2) / 2, (y1 + y2) / 2 - 7 - rows * size * 1.3, text, size=size, colour=colour, mono=mono)
        return self

    def _head(self, x1, y1, x2, y2, colour):
        angle = math.atan2(y2 - y1, x2 - x1)
        points = [(x2, y2)] + [
            (x2 - 10 * math.cos(angle + turn), y2 - 10 * math.sin(angle + turn)) for turn in (0.42, -0.42)
        ]
        corners = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.add(f'<polygon points="{corners}" fill="{colour}"/>')

    def lane(self, x, top, bottom, title, colour=INK):
        """A party of a sequence: its name, and its time running down."""
        self.label(x, top - 8, title, colour=colour, bold=True)
        return self.line(x, top, x, bottom, FAINT, dashed=True, width=1.2)

    def note(self, x, y, text, colour=FAINT, anchor="start", size=13):
        """A remark beside something."""
        return self.label(x, y, text, size=size, colour=colour, anchor=anchor)

    def plot(self, x, y, width, height, series, x_label, y_label, x_ticks, y_ticks, log_x=False, log_y=False, right=90):
        """A plot of `series`, a list of (name, colour, [(x, y), ...]); ticks are (value, text) and their ends are the axes' ends."""

        def place(value, ticks, log):
            low, high = ticks[0][0], ticks[-1][0]
            if log:
                value, low, high = math.log(value), math.log(low), math.log(high)
            return (value - low) / (high - low)

        inner = width - right
        for value, text in y_ticks:
            at = y + height * (1 - place(value, y_ticks, log_y))
            self.line(x, at, x + inner, at, "#d9dde2", width=1)
            self.label(x - 8, at + 4, text, size=12, anchor="end", colour=FAINT)
        for value, text in x_ticks:
            at = x + inner * place(value, x_ticks, log_x)
            self.line(at, y + height, at, y + height + 5, FAINT, width=1)
            self.label(at, y + height + 20, text, size=12, colour=FAINT)
        self.line(x, y + height, x + inner, y + height, FAINT, width=1.2)
        self.label(x + inner / 2, y + height + 42, x_label, size=13)
        self.label(x - 40, y - 14, y_label, size=13, anchor="start")
        for name, colour, points in series:
            placed = [
                (x + inner * place(px, x_ticks, log_x), y + height * (1 - place(py, y_ticks, log_y))) for px, py in points
            ]
            path = "L".join(f"{number(px)} {number(py)}" for px, py in placed)
            self.add(f'<path d="M{path}" stroke="{colour}" stroke-width="2.2" fill="none" stroke-linejoin="round"/>')
            self.label(placed[-1][0] + 8, placed[-1][1] + 4, name, size=13, colour=colour, anchor="start", bold=True)
        return self

    def svg(self):
        """The file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" font-family="{FONT}">\n<title>{escape(self.title)}</title>\n'
            f'<rect x="1" y="1" width="{self.width - 2}" height="{self.height - 2}" rx="12" fill="{CARD}" stroke="#d5d9de"/>\n'
        )
        return head + "\n".join(self.parts) + "\n</svg>\n"


def rows(name):
    """The rows of numbers of `data/NAME`, whose lines that begin with `#` are for people; the first other line names the columns."""
    lines = [line for line in (DATA / name).read_text().splitlines() if line and not line.startswith("#")]
    names = lines[0].split(",")
    return [dict(zip(names, map(float, line.split(",")))) for line in lines[1:]]


def drawn():
    """Every picture: its file's name and its text."""
    for path in sorted((HERE / "diagrams").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"chapter_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for function in module.DRAWINGS:
            yield f"{function.__name__}.svg", function().svg()


def main(arguments):
    """Writes, or compares; the status says whether all was as drawn."""
    sys.modules.setdefault("diagrams", sys.modules["__main__"])
    pictures = dict(drawn())
    if arguments == ["--check"]:
        faults = [name for name, text in pictures.items() if not (IMAGES / name).is_file() or (IMAGES / name).read_text() != text]
        faults += [path.name for path in sorted(IMAGES.glob("*.svg")) if path.name not in pictures]
        for name in faults:
            print(f"{name}: not what the script draws; run python3 docs/book/diagrams.py")
        return 1 if faults else 0
    for name, text in pictures.items():
        (IMAGES / name).write_text(text)
        print(name)
    return 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1:]))
