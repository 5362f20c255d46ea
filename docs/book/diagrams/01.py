"""The pictures of chapter 1."""

from diagrams import BLUE, FAINT, GREEN, Drawing


def ch01_channel():
    """Two programs, and what is between them."""
    d = Drawing(680, 190, "Two programs, each with a socket; the kernels carry bytes between the sockets")
    d.box(30, 50, 150, 60, "client", "a program", BLUE)
    d.box(500, 50, 150, 60, "server", "a program", GREEN)
    d.arrow(180, 80, 500, 80, "bytes, both ways", both=True)
    d.box(160, 68, 24, 24, colour=BLUE)
    d.box(496, 68, 24, 24, colour=GREEN)
    d.note(172, 140, "socket at\n192.0.2.7, port 40112", anchor="middle")
    d.note(508, 140, "socket at\n198.51.100.9, port 7007", anchor="middle")
    d.label(340, 120, "two kernels and the network between them", size=13, colour=FAINT)
    return d


DRAWINGS = [ch01_channel]
