"""The pictures of chapter 2."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, VIOLET, Drawing


def ch02_channel():
    """Descriptors, the sockets behind them, and the connection."""
    d = Drawing(720, 330, "A server has two sockets, one that listens and one for its client; each is a number in the process")
    d.box(30, 40, 260, 240, colour=GREEN)
    d.label(160, 66, "the server's process", colour=GREEN, bold=True)
    d.label(160, 94, "file descriptors", size=13, colour=FAINT)
    d.box(60, 110, 60, 44, "3", colour=INK, mono=True)
    d.box(60, 200, 60, 44, "4", colour=INK, mono=True)
    d.note(130, 125, "the listener")
    d.note(130, 215, "the connection")
    d.box(330, 110, 130, 44, "listens", colour=GOLD)
    d.box(330, 200, 130, 44, "", "receive queue\nsend queue", VIOLET)
    d.arrow(120, 132, 330, 132, colour=FAINT)
    d.arrow(120, 222, 330, 222, colour=FAINT)
    d.label(395, 98, "port 7007", size=13)
    d.label(395, 266, "127.0.0.1:7007", size=13, mono=True)
    d.box(560, 150, 130, 130, "client", "its process:\none descriptor,\none socket", BLUE)
    d.arrow(460, 222, 560, 222, "bytes", VIOLET, both=True)
    d.label(625, 304, "127.0.0.1:44090", size=13, mono=True)
    d.arrow(560, 165, 460, 138, colour=GOLD, dashed=True)
    d.label(530, 138, "connect", size=13, colour=GOLD)
    d.label(395, 304, "in the kernel", size=13, colour=FAINT)
    return d


def ch02_calls():
    """The system calls of both sides, in order."""
    d = Drawing(640, 430, "The system calls of a server and a client, from socket to close")
    d.lane(190, 50, 405, "server", GREEN)
    d.lane(450, 50, 405, "client", BLUE)
    for at, text in [(80, "socket"), (105, "bind"), (130, "listen"), (155, "accept: waits")]:
        d.label(178, at, text, anchor="end", mono=True, size=14)
    d.label(462, 165, "socket", anchor="start", mono=True, size=14)
    d.label(462, 190, "connect", anchor="start", mono=True, size=14)
    d.arrow(450, 186, 190, 196, "SYN", BLUE)
    d.arrow(190, 206, 450, 216, "SYN, ACK", GREEN)
    d.arrow(450, 226, 190, 236, "ACK", BLUE)
    d.label(178, 240, "accept: a new socket", anchor="end", size=13)
    d.label(462, 270, "write", anchor="start", mono=True, size=14)
    d.arrow(450, 266, 190, 276, "salmon 3", BLUE, mono=True)
    d.label(178, 280, "read", anchor="end", mono=True, size=14)
    d.label(178, 310, "write", anchor="end", mono=True, size=14)
    d.arrow(190, 306, 450, 316, "salmon 3", GREEN, mono=True)
    d.label(462, 320, "read", anchor="start", mono=True, size=14)
    d.label(462, 350, "close", anchor="start", mono=True, size=14)
    d.arrow(450, 346, 190, 356, "FIN", BLUE)
    d.label(178, 360, "read: 0 bytes", anchor="end", mono=True, size=14)
    d.label(178, 388, "close", anchor="end", mono=True, size=14)
    d.arrow(190, 384, 450, 394, "FIN", GREEN)
    return d


DRAWINGS = [ch02_channel, ch02_calls]
