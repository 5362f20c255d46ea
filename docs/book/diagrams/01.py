"""The pictures of chapter 1."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, RED, VIOLET, Drawing


def ch01_channel():
    """Two programs, and what is between them."""
    d = Drawing(680, 190, "Two programs, each with a socket; the kernels carry bytes between the sockets")
    d.box(30, 50, 150, 60, "client", "a program", BLUE)
    d.box(500, 50, 150, 60, "server", "a program", GREEN)
    d.arrow(184, 80, 496, 80, "bytes, both ways", both=True)
    d.box(160, 68, 24, 24, colour=BLUE)
    d.box(496, 68, 24, 24, colour=GREEN)
    d.note(172, 140, "a socket at 192.0.2.7,\nport 40112", anchor="middle")
    d.note(508, 140, "a socket at 198.51.100.9,\nport 7007", anchor="middle")
    d.label(340, 104, "two kernels, and the network between them", size=13, colour=FAINT)
    return d


def ch01_layers():
    """Where each kind of socket sits."""
    d = Drawing(700, 350, "Stream sockets sit on TCP, datagram sockets on UDP, raw sockets on IP; IP sits on the link")
    d.label(24, 52, "programs", size=13, colour=FAINT, anchor="start")
    for x, title, below, colour in [(130, "stream", "bytes in order", BLUE), (320, "datagram", "letters", VIOLET), (510, "raw", "packets", RED)]:
        d.box(x, 28, 160, 56, title, below, colour)
    d.line(20, 104, 680, 104, FAINT, dashed=True, width=1.2)
    d.note(24, 124, "the kernel")
    d.arrow(210, 84, 210, 140, colour=BLUE, both=True)
    d.arrow(400, 84, 400, 140, colour=VIOLET, both=True)
    d.arrow(590, 84, 590, 214, colour=RED, both=True)
    d.box(130, 140, 160, 50, "TCP", "ports, order, repeats", BLUE)
    d.box(320, 140, 160, 50, "UDP", "ports", VIOLET)
    d.arrow(210, 190, 210, 214, both=True)
    d.arrow(400, 190, 400, 214, both=True)
    d.box(130, 214, 540, 50, "IP (version 4 and 6)", "from machine to machine, by addresses; may lose packets", GREEN)
    d.arrow(400, 264, 400, 284, both=True)
    d.box(130, 284, 540, 46, "link", "Ethernet, Wi-Fi, loopback: to the next machine", GOLD)
    return d


def ch01_packet():
    """What goes over the wire for eight bytes."""
    d = Drawing(700, 184, "Eight bytes of a request inside UDP, inside IP, inside Ethernet: 50 bytes on the wire")
    d.box(24, 40, 650, 84, colour=GOLD)
    d.label(80, 78, "Ethernet", colour=GOLD, bold=True)
    d.label(80, 98, "14 bytes", size=13)
    d.box(140, 48, 524, 68, colour=GREEN)
    d.label(205, 78, "IPv4", colour=GREEN, bold=True)
    d.label(205, 98, "20 bytes", size=13)
    d.box(270, 54, 384, 56, colour=VIOLET)
    d.label(340, 78, "UDP", colour=VIOLET, bold=True)
    d.label(340, 98, "8 bytes", size=13)
    d.box(410, 60, 234, 44, "salmon 3", colour=INK, mono=True)
    d.note(80, 146, "which machine\nof this link", anchor="middle")
    d.note(205, 146, "which machine\nin the world", anchor="middle")
    d.note(340, 146, "which program\nthere", anchor="middle")
    d.note(527, 146, "what it is about", anchor="middle")
    return d


DRAWINGS = [ch01_channel, ch01_layers, ch01_packet]
