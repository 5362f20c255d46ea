"""The pictures of chapter 8."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, RED, VIOLET, Drawing


def ch08_carriers():
    """One service, and what carries its lines."""
    d = Drawing(680, 354, "One service, tally, reached by TCP, by a Unix socket, by TLS over TCP, by QUIC over UDP and by MPTCP over two paths")
    d.box(480, 137, 170, 80, "tally", "the same service,\nthe same counters", GREEN)
    for y, name, below, colour in (
        (20, "TCP", "another host, or this one", BLUE),
        (84, "Unix socket", "this host; knows its peer", GOLD),
        (148, "TLS", "over TCP; nobody can listen", VIOLET),
        (212, "QUIC", "over UDP; many streams", VIOLET),
        (276, "MPTCP", "TCP by several paths", BLUE),
    ):
        d.box(180, y, 220, 54, name, below, colour)
        d.arrow(400, y + 27, 480, 177 + (y - 148) / 6, colour=colour)
        if name == "MPTCP":
            d.arrow(60, y + 14, 180, y + 14, "path 1", colour, size=12)
            d.arrow(60, y + 44, 180, y + 44, "path 2", colour, size=12)
        else:
            d.arrow(60, y + 27, 180, y + 27, colour=colour)
    d.label(30, 180, "clients", colour=FAINT, size=13)
    return d


def ch08_tls():
    """A service that carries another one."""
    d = Drawing(680, 180, "TLS as a service that owns the TCP connection; a pair of ends inside the loop joins it with tally")
    d.box(20, 50, 110, 60, "client", "", BLUE)
    d.arrow(130, 80, 230, 80, "sealed", both=True, colour=VIOLET)
    d.box(230, 40, 150, 80, "TlsServer", "owns the TCP\nconnection", VIOLET)
    d.arrow(380, 80, 510, 80, "a pair: plain", both=True, colour=GREEN)
    d.box(510, 40, 140, 80, "tally", "owns an end\nof a pair", GREEN)
    d.add(f'<rect x="205" y="18" width="460" height="124" rx="10" fill="none" stroke="{FAINT}" stroke-dasharray="6 4"/>')
    d.label(435, 162, "one event loop", size=13, colour=FAINT)
    return d


def ch08_lite():
    """What a checksum covers."""
    d = Drawing(680, 190, "UDP's checksum covers all of a datagram; UDP-Lite's covers the first bytes, and damage behind them arrives")
    for y, name, covered, colour in ((40, "UDP", 480, BLUE), (110, "UDP-Lite,\ncoverage 12", 360, GOLD)):
        d.label(22, y + 22, name, size=14, anchor="start", colour=colour, bold=True)
        d.box(150, y, 240, 42, "header, 8 bytes", colour=colour)
        d.box(390, y, 120, 42, "salm", colour=colour if covered >= 360 else FAINT, mono=True)
        d.box(510, y, 120, 42, "on 3", colour=colour if covered == 480 else FAINT, mono=True, dashed=covered != 480)
        d.line(150, y + 52, 150 + covered, y + 52, colour, width=3)
    d.label(570, 178, "damage here arrives", size=13, colour=FAINT)
    return d


DRAWINGS = [ch08_carriers, ch08_tls, ch08_lite]
