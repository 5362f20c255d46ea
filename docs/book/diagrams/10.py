"""The pictures of chapter 10."""

from diagrams import BLUE, FAINT, GREEN, RED, VIOLET, Drawing, rows


def ch10_loops():
    """When requests go: after the answer, or on schedule."""
    d = Drawing(720, 290, "Two rows of requests in time. While the server stands still, the closed loop sends nothing; the open loop goes on, and each of its requests waits")
    d.add('<rect x="300" y="40" width="200" height="215" fill="#f9e3df" stroke="none"/>')
    d.label(400, 32, "the server stands still", size=13, colour=RED)
    d.label(20, 75, "closed loop", colour=BLUE, anchor="start", bold=True)
    d.label(20, 180, "open loop", colour=GREEN, anchor="start", bold=True)
    for x in (140, 180, 220, 260, 300, 520, 560, 600, 640):
        d.line(x, 60, x, 90, BLUE, width=2.4)
    d.arrow(300, 105, 500, 105, "one request waits", BLUE)
    for number, x in enumerate(range(140, 680, 40)):
        d.line(x, 165, x, 180, GREEN, width=2.4)
        if 300 <= x < 500:
            d.arrow(x, 188 + 13 * (number - 4), 500, 188 + 13 * (number - 4), colour=GREEN)
    d.label(600, 215, "each of them waits", size=13, colour=GREEN)
    d.arrow(140, 272, 690, 272, colour=FAINT)
    d.label(665, 264, "time", size=13, colour=FAINT)
    return d


def ch10_percentiles():
    """The same stall, as both ways report it."""
    data = rows("ch10_fooled.csv")
    d = Drawing(720, 330, "Round trips by percentile: the closed loop shows one millisecond up to the last request, the open loop rises from the 90th percentile to a second")
    closed = [(row["permille"] / 10, row["closed_ms"]) for row in data]
    opened = [(row["permille"] / 10, row["open_ms"]) for row in data]
    d.plot(
        80, 50, 600, 215,
        [("on schedule", GREEN, opened[:-1]), ("after the answer", BLUE, closed[:-1])],
        "of a hundred requests, so many took no longer", "milliseconds",
        [(80, "80"), (85, "85"), (90, "90"), (95, "95"), (100, "100")],
        [(0, "0"), (250, "250"), (500, "500"), (750, "750"), (1000, "1000")],
        right=130,
    )
    return d


DRAWINGS = [ch10_loops, ch10_percentiles]
