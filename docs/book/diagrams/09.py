"""The pictures of chapter 9."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, VIOLET, Drawing


def ch09_port():
    """One port, and the services behind it."""
    d = Drawing(720, 330, "One listening port; a mux looks at the first bytes of each connection and gives it to tally, to the page, or to the reader of PROXY headers")
    for y, who, says, colour in ((40, "a counter", "salmon 3", BLUE), (130, "a browser", "GET / HTTP/1.1", GREEN), (220, "a relay", "PROXY TCP4 203.0.113.5 …", GOLD)):
        d.box(20, y, 190, 60, who, says, colour, mono=False)
        d.arrow(210, y + 30, 300, 160, colour=colour)
    d.box(300, 120, 120, 80, "mux", "looks at\nthe first bytes", INK)
    d.label(360, 106, "port 7007", size=13, colour=FAINT)
    d.box(560, 40, 140, 60, "tally", "everything else", BLUE)
    d.box(560, 130, 140, 60, "page", "HTTP", GREEN)
    d.box(560, 220, 140, 60, "PROXY reader", "from 127.0.0.2 only", GOLD)
    d.arrow(420, 150, 560, 70, colour=BLUE)
    d.arrow(420, 160, 560, 160, colour=GREEN)
    d.arrow(420, 170, 560, 250, colour=GOLD)
    d.label(500, 300, "behind it a second mux: tally or page", size=13, colour=FAINT, anchor="middle")
    return d


def ch09_relay():
    """A relay: two connections that are joined."""
    d = Drawing(720, 330, "A relay in time: the client is held until the backend answers; then bytes pass both ways, and each end and each stop is passed on")
    for x, who, colour in ((90, "client", BLUE), (360, "relay", VIOLET), (630, "backend", GREEN)):
        d.lane(x, 45, 310, who, colour)
    d.arrow(90, 65, 360, 75, "connect", BLUE)
    d.arrow(90, 95, 360, 105, "salmon 3  (waits in the kernel)", BLUE)
    d.arrow(360, 115, 630, 125, "connect", VIOLET)
    d.arrow(630, 140, 360, 150, "connected: join", GREEN)
    d.arrow(360, 170, 630, 180, "salmon 3", VIOLET)
    d.arrow(630, 195, 360, 205, "salmon 3", GREEN)
    d.arrow(360, 210, 90, 220, "salmon 3", VIOLET)
    d.arrow(90, 240, 360, 250, "end", BLUE)
    d.arrow(360, 255, 630, 265, "end", VIOLET)
    d.arrow(630, 280, 360, 290, "end", GREEN)
    d.arrow(360, 293, 90, 303, "end", VIOLET)
    return d


DRAWINGS = [ch09_port, ch09_relay]
