"""The pictures of chapter 7."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, RED, VIOLET, Drawing


def ch07_layers():
    """What each kind of socket sees of a packet."""
    d = Drawing(680, 300, "A packet is an IP header, a transport header and a payload; UDP sockets see the payload, raw IP sockets what is behind the IP header, header-included sockets all of it")
    d.label(30, 52, "a packet", size=13, anchor="start", colour=FAINT)
    for x, width, title, below, colour in (
        (160, 150, "IP header", "20 bytes or more", GOLD),
        (310, 130, "UDP header", "8 bytes", VIOLET),
        (440, 200, "payload", r"salmon 3\n", BLUE),
    ):
        d.box(x, 24, width, 56, title, below, colour)
    rows = (
        (125, "UDP socket", 440, 640, BLUE, "reads and writes the payload"),
        (175, "raw IP socket", 310, 640, GREEN, "writes what is behind the IP header"),
        (225, " over IPv4 it reads", 160, 640, GREEN, "the IP header too"),
        (275, "header included", 160, 640, RED, "writes all of it"),
    )
    for y, name, left, right, colour, text in rows:
        d.label(22, y + 5, name, size=13, anchor="start", colour=colour, bold=not name.startswith(" "))
        d.line(left, y, right, y, colour, width=3)
        d.line(left, y - 6, left, y + 6, colour, width=3)
        d.line(right, y - 6, right, y + 6, colour, width=3)
        d.label((left + right) / 2, y - 8, text, size=12, colour=colour)
    return d


def ch07_icmp():
    """The eight bytes of an echo message, and the data."""
    d = Drawing(680, 190, "An ICMP echo message: type, code and checksum; identifier and sequence number; data")
    left, unit = 60, 17.5
    for bit in (0, 8, 16, 24, 32):
        d.label(left + bit * unit, 26, str(bit), size=12, colour=FAINT)
    for x, bits, row, text, colour in (
        (0, 8, 0, "type: 8 or 0", RED),
        (8, 8, 0, "code: 0", FAINT),
        (16, 16, 0, "checksum", GOLD),
        (0, 16, 1, "identifier: whose ping", BLUE),
        (16, 16, 1, "sequence: which one", BLUE),
        (0, 32, 2, "data: comes back as it is", GREEN),
    ):
        d.box(left + x * unit, 36 + row * 46, bits * unit, 42, text, colour=colour)
    return d


def ch07_copies():
    """Who gets an arriving packet."""
    d = Drawing(680, 220, "An arriving packet is copied to every raw socket of its protocol and goes on to the kernel's own UDP or ICMP as well")
    d.box(20, 80, 120, 60, "packet", "arrives", INK)
    d.arrow(140, 110, 200, 110)
    d.box(200, 80, 120, 60, "IP", "reassembled", GOLD)
    d.arrow(320, 100, 420, 45, colour=GREEN)
    d.arrow(320, 110, 420, 110, colour=GREEN)
    d.arrow(320, 120, 420, 180, colour=VIOLET)
    d.box(420, 20, 220, 46, "raw socket of program A", colour=GREEN)
    d.box(420, 87, 220, 46, "raw socket of program B", colour=GREEN)
    d.box(420, 154, 220, 50, "the kernel's UDP or ICMP", "as if nobody had looked", VIOLET)
    d.label(355, 60, "copy", size=12, colour=GREEN)
    d.label(372, 103, "copy", size=12, colour=GREEN)
    return d


DRAWINGS = [ch07_layers, ch07_icmp, ch07_copies]
