"""The pictures of chapter 11."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, RED, VIOLET, Drawing


def ch11_where():
    """Where something can break, and what shows it."""
    d = Drawing(740, 300, "From a program through its kernel and the network to the other kernel and program; under each place the tool that looks at it")
    places = (
        (20, "program", "client", BLUE, "its log\nstrace"),
        (170, "kernel", "queues, ports", INK, "sockeye sockets\nss"),
        (320, "network", "routers\nfirewalls", GOLD, "ping, trace, mtu\ntcpdump, dump"),
        (470, "kernel", "queues, ports", INK, "sockeye sockets\nss"),
        (620, "program", "server", GREEN, "its log\nstrace"),
    )
    for x, title, below, colour, tools in places:
        d.box(x, 60, 100, 70, title, below, colour)
        d.line(x + 50, 130, x + 50, 165, FAINT, dashed=True, width=1.2)
        d.label(x + 50, 185, tools, size=13, mono=False)
    for x in (120, 270, 420, 570):
        d.arrow(x, 95, x + 50, 95, both=True)
    d.label(370, 35, "one request passes all of these, and its answer passes them again", size=13, colour=FAINT)
    d.box(20, 235, 700, 45, "", "the simulator: all five in one process, from a seed", VIOLET, dashed=True)
    return d


def ch11_unsure():
    """A request whose answer is lost."""
    d = Drawing(720, 270, "Two runs that look the same to the client: in one the request is lost, in the other the answer")
    for x, title, lost in ((0, "not counted", "request"), (370, "counted", "answer")):
        d.lane(x + 60, 50, 240, "client", BLUE)
        d.lane(x + 290, 50, 240, "tally", GREEN)
        if lost == "request":
            d.arrow(x + 60, 80, x + 290, 105, "salmon 1", BLUE, lost=True)
        else:
            d.arrow(x + 60, 80, x + 290, 105, "salmon 1", BLUE)
            d.note(x + 282, 124, "total + 1", GREEN, anchor="end")
            d.arrow(x + 290, 150, x + 60, 175, "salmon 4", GREEN, lost=True)
        d.label(x + 68, 215, "deadline", colour=RED, size=13, anchor="start")
        d.label(x + 175, 262, title, bold=True)
    d.line(360, 40, 360, 250, FAINT, dashed=True, width=1.2)
    return d


DRAWINGS = [ch11_where, ch11_unsure]
