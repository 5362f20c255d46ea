"""The pictures of chapter 3."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, RED, VIOLET, Drawing


def ch03_endpoint():
    """The parts of an endpoint's text."""
    d = Drawing(720, 200, "An endpoint is a transport, an address with its zone, and a port")
    parts = [("tcp", BLUE, 54), ("://", FAINT, 48), ("[fe80::1", GREEN, 132), ("%eth0", GOLD, 82), ("]", GREEN, 16), (":", FAINT, 16), ("7007", RED, 68)]
    x = 152
    for text, colour, width in parts:
        d.label(x, 78, text, size=27, colour=colour, anchor="start", mono=True, bold=True)
        d.line(x, 88, x + width - 4, 88, colour, width=2.4)
        x += width
    d.arrow(120, 146, 176, 96, colour=BLUE)
    d.label(100, 164, "transport", colour=BLUE)
    d.arrow(290, 146, 308, 96, colour=GREEN)
    d.label(280, 164, "address: which machine", colour=GREEN)
    d.arrow(440, 146, 424, 96, colour=GOLD)
    d.label(444, 164, "zone: which link", colour=GOLD)
    d.arrow(590, 146, 540, 96, colour=RED)
    d.label(610, 164, "port: which service", colour=RED)
    return d


def ch03_machine():
    """A machine with two addresses: each transport has ports of its own."""
    d = Drawing(720, 300, "Each transport of each address has its own ports: TCP 53 and UDP 53 are different sockets")
    d.box(30, 40, 660, 235, colour=INK)
    d.label(360, 66, "one machine", bold=True)
    for row, (name, colour) in enumerate([("TCP", BLUE), ("UDP", VIOLET)]):
        y = 90 + row * 88
        d.box(60, y, 600, 74, colour=colour)
        d.label(90, y + 42, name, colour=colour, bold=True)
        for x, title, below in [(130, "53", "domain"), (300, "7007", "tally"), (470, "514", ["shell", "syslog"][row])]:
            used = not (row == 1 and title == "7007")
            d.box(x, y + 12, 150, 50, title, below if used else "free", colour if used else FAINT, dashed=not used)
    return d


def ch03_names():
    """From what is typed to a connection."""
    d = Drawing(790, 230, "From text to a connection: parse, resolve, and try each address in order")
    d.box(24, 70, 150, 60, "localhost", "text", FAINT, mono=True)
    d.box(214, 70, 190, 60, "tcp://localhost:7007", "target", BLUE)
    d.box(468, 28, 180, 52, "[::1]:7007", "first", GREEN, mono=True)
    d.box(468, 124, 180, 52, "127.0.0.1:7007", "second", GREEN, mono=True)
    d.arrow(174, 100, 214, 100, "", INK)
    d.label(194, 60, "parse", size=13)
    d.arrow(404, 92, 468, 58, "", INK)
    d.arrow(404, 108, 468, 146, "", INK)
    d.label(430, 60, "resolve", size=13)
    d.arrow(648, 54, 690, 54, "", RED)
    d.label(698, 58, "refused", size=13, colour=RED, anchor="start")
    d.arrow(648, 150, 690, 150, "", GREEN)
    d.label(698, 154, "connected", size=13, colour=GREEN, anchor="start")
    d.note(395, 208, "parsing asks nobody; resolving asks files and name servers; connecting asks the other machine", anchor="middle")
    return d


DRAWINGS = [ch03_endpoint, ch03_machine, ch03_names]
