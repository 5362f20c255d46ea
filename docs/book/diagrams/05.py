"""The pictures of chapter 5."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, RED, Drawing, rows


def ch05_pieces():
    """Writes and reads do not match."""
    d = Drawing(680, 250, "Three writes of 9, 8 and 9 bytes become one stream of 26 bytes, which three reads cut at other places")
    d.label(30, 40, "the writer's calls", size=13, colour=FAINT, anchor="start")
    d.label(30, 128, "the stream", size=13, colour=FAINT, anchor="start")
    d.label(30, 216, "the reader's calls", size=13, colour=FAINT, anchor="start")
    left, unit = 170, 18
    for begin, text in ((0, r"salmon 3\n"), (9, r"trout 1\n"), (17, r"salmon 2\n")):
        length = len(text) - 1
        d.box(left + begin * unit + 2, 22, length * unit - 4, 34, text, colour=BLUE, mono=True)
        d.arrow(left + (begin + length / 2) * unit, 58, left + (begin + length / 2) * unit, 98, colour=BLUE)
    for at, letter in enumerate("salmon 3\ntrout 1\nsalmon 2\n"):
        d.add(f'<rect x="{left + at * unit}" y="104" width="{unit}" height="30" fill="#ffffff" stroke="#c4cad1"/>')
        d.label(left + at * unit + unit / 2, 124, "↵" if letter == "\n" else letter, size=13, mono=True, colour=GOLD if letter == "\n" else INK)
    for begin, length, text in ((0, 11, "11 bytes"), (11, 11, "11 bytes"), (22, 4, "4")):
        d.arrow(left + (begin + length / 2) * unit, 140, left + (begin + length / 2) * unit, 190, colour=GREEN)
        d.box(left + begin * unit + 2, 194, length * unit - 4, 34, text, colour=GREEN)
    return d


def ch05_buffers():
    """From write to read, with the places where bytes wait."""
    d = Drawing(680, 230, "A write fills the send buffer of one kernel, the network carries what the window allows, a read empties the receive buffer of the other")
    d.box(20, 40, 110, 60, "writer", "write()", BLUE)
    d.box(180, 40, 130, 60, "send buffer", "SEND-Q", GOLD)
    d.box(370, 40, 130, 60, "receive buffer", "RECV-Q", GOLD)
    d.box(550, 40, 110, 60, "reader", "read()", GREEN)
    d.arrow(130, 70, 180, 70)
    d.arrow(310, 62, 370, 62, "data")
    d.arrow(500, 70, 550, 70)
    d.arrow(370, 86, 310, 86, colour=RED)
    d.label(340, 122, "acknowledged, and\nroom that is left\n(the window)", size=13, colour=RED)
    d.label(75, 132, "full: WouldBlock,\nor the call waits", size=13, colour=BLUE)
    d.label(605, 132, "empty: WouldBlock,\nor the call waits", size=13, colour=GREEN)
    d.label(340, 205, "a reader that stops: RECV-Q fills, the window closes, SEND-Q fills, the writer has to stop", size=13, colour=FAINT)
    return d


def ch05_ends():
    """Half-close and reset, as sequences."""
    d = Drawing(680, 330, "On the left each side ends its half by FIN; on the right one side resets the connection by RST")
    for left, title in ((90, "half-close"), (430, "reset")):
        d.label(left + 75, 32, title, bold=True, size=16)
        d.lane(left, 76, 305, "client", BLUE)
        d.lane(left + 150, 76, 305, "server", GREEN)
    d.arrow(90, 95, 240, 115, "salmon 3", BLUE, mono=True)
    d.arrow(90, 135, 240, 155, "FIN", BLUE)
    d.note(250, 160, "read: 0 bytes")
    d.arrow(240, 185, 90, 205, "salmon 3", GREEN, mono=True)
    d.arrow(240, 225, 90, 245, "FIN", GREEN)
    d.note(80, 275, "read: 9,\nthen 0", colour=FAINT, anchor="end")
    d.arrow(430, 95, 580, 115, "salmon 3", BLUE, mono=True)
    d.note(588, 135, "close() with\ndata unread")
    d.arrow(580, 165, 430, 185, "RST", RED)
    d.note(420, 205, "read: connection reset\nwrite: broken pipe", anchor="end", colour=FAINT)
    return d


def ch05_nagle():
    """Each request's time with one write or two."""
    d = Drawing(680, 330, "Requests in two writes take 42 to 50 milliseconds each; with TCP_NODELAY or in one write they take a few microseconds")
    data = rows("ch05_nagle.csv")
    series = [
        ("", colour, [(row["request"], row[column]) for row in data])
        for colour, column in ((RED, "two_us"), (GOLD, "two_nodelay_us"), (GREEN, "one_us"))
    ]
    y_ticks = [(1, "1 µs"), (10, "10 µs"), (100, "100 µs"), (1000, "1 ms"), (10000, "10 ms"), (100000, "100 ms")]
    x_ticks = [(1, "1"), (10, "10"), (20, "20"), (30, "30")]
    d.plot(75, 50, 580, 210, series, "request", "time until the answer", x_ticks, y_ticks, log_y=True, right=125)
    # Placed by hand: two of the lines end close together.
    for y, text, colour in ((70, "two writes", RED), (224, "two, NODELAY", GOLD), (248, "one write", GREEN)):
        d.label(540, y, text, size=13, colour=colour, anchor="start", bold=True)
    return d


DRAWINGS = [ch05_pieces, ch05_buffers, ch05_ends, ch05_nagle]
