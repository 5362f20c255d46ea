"""The pictures of chapter 4."""

from diagrams import BLUE, FAINT, GOLD, GREEN, RED, Drawing, rows


def ch04_letters():
    """Datagrams go alone."""
    d = Drawing(680, 300, "Of four requests one is lost on the way and one answer is lost on the way back; nobody is told")
    d.lane(160, 50, 280, "client", BLUE)
    d.lane(520, 50, 280, "server", GREEN)
    d.arrow(160, 72, 520, 84, "salmon 3", BLUE, mono=True)
    d.arrow(520, 94, 160, 106, "salmon 3", GREEN, mono=True)
    d.arrow(160, 132, 520, 144, "salmon 2", BLUE, lost=True, mono=True)
    d.note(530, 148, "never heard of it", anchor="start")
    d.label(150, 160, "waits,\nasks again", size=13, colour=FAINT, anchor="end")
    d.arrow(160, 190, 520, 202, "salmon 2", BLUE, mono=True)
    d.label(530, 206, "total: 5", size=13, colour=FAINT, anchor="start")
    d.arrow(520, 216, 160, 228, "salmon 5", GREEN, lost=True, mono=True)
    d.label(150, 240, "asks again", size=13, colour=FAINT, anchor="end")
    d.arrow(160, 254, 520, 266, "salmon 2", BLUE, mono=True)
    d.label(530, 270, "total: 7", size=13, colour=RED, anchor="start")
    return d


def ch04_source():
    """An answer from another address than the one that was asked."""
    d = Drawing(680, 220, "A client asks 127.0.0.2; the answer leaves from 127.0.0.1, and the client's socket does not take it")
    d.box(30, 60, 170, 100, "client", "connected to\n127.0.0.2:7007", BLUE)
    d.box(470, 60, 180, 100, "server", "bound to 0.0.0.0:7007:\nall its addresses", GREEN)
    d.arrow(200, 90, 470, 90, "to 127.0.0.2", BLUE)
    d.arrow(470, 136, 240, 136, "from 127.0.0.1", RED, lost=True)
    d.label(335, 196, "not from the address that was asked: the client's kernel drops it", size=13, colour=FAINT)
    return d


def ch04_burst():
    """What a full receive queue does to a burst."""
    d = Drawing(680, 360, "Datagrams received over datagrams sent, for three sizes: each line is flat from where the queue is full")
    series = []
    for size, colour in [(16, BLUE), (200, GREEN), (1000, GOLD)]:
        points = [(row["sent"], row["received"]) for row in rows("ch04_burst.csv") if row["bytes"] == size]
        series.append((f"{size} bytes", colour, points))
    if series[0][2][-1][1] == series[1][2][-1][1]:
        series[0] = ("16 bytes", BLUE, series[0][2])
    ticks = [(0, "0"), (128, "128"), (256, "256"), (384, "384"), (512, "512")]
    d.plot(70, 50, 570, 240, series, "sent in one burst", "received", ticks, [(0, "0"), (100, "100"), (200, "200"), (300, "300")], right=90)
    return d


DRAWINGS = [ch04_letters, ch04_source, ch04_burst]
