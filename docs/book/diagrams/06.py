"""The pictures of chapter 6."""

from diagrams import BLUE, FAINT, GOLD, GREEN, INK, RED, VIOLET, Drawing, rows


def ch06_loop():
    """One thread: wait, look, call back."""
    d = Drawing(680, 260, "Many sockets report to one poller; the loop waits for it, reads what is ready, and calls the services")
    for row in range(5):
        d.box(30, 30 + row * 40, 90, 30, f"socket {row + 1}" if row < 4 else "…", colour=GOLD if row in (1, 3) else FAINT)
        d.line(120, 45 + row * 40, 190, 125, GOLD if row in (1, 3) else FAINT, dashed=row not in (1, 3), width=1.4)
    d.box(190, 85, 120, 80, "poller", "epoll: which\nare ready?", INK)
    d.arrow(310, 125, 380, 125, "2, 4", GOLD)
    d.box(380, 85, 120, 80, "the loop", "reads, writes,\naccepts, timers", BLUE)
    d.arrow(500, 105, 560, 65, colour=GREEN)
    d.arrow(500, 145, 560, 185, colour=GREEN)
    d.box(560, 40, 100, 50, "on_frame", "socket 2", GREEN)
    d.box(560, 160, 100, 50, "on_frame", "socket 4", GREEN)
    d.add(f'<path d="M440 165C440 250 250 250 250 180" stroke="{BLUE}" stroke-width="1.8" fill="none" stroke-dasharray="6 4"/>')
    d.arrow(250, 181, 250, 167, colour=BLUE)
    d.label(345, 248, "when all is done: wait again", size=13, colour=BLUE)
    return d


def ch06_edge():
    """What level and edge tell of the same socket."""
    d = Drawing(680, 240, "Unread bytes over time: a level-triggered poller reports readiness in every turn, an edge-triggered one only when bytes arrive")
    d.label(20, 60, "unread bytes", size=13, anchor="start", colour=FAINT)
    d.add(f'<path d="M140 84L200 84L200 40L330 40L330 64L440 64L440 84L520 84L520 52L640 52" stroke="{BLUE}" stroke-width="2.2" fill="none"/>')
    d.label(206, 32, "17 arrive", size=12, anchor="start", colour=BLUE)
    d.label(336, 56, "9 read", size=12, anchor="start", colour=BLUE)
    d.label(446, 78, "8 read", size=12, anchor="start", colour=BLUE)
    d.label(526, 44, "9 arrive", size=12, anchor="start", colour=BLUE)
    d.label(20, 140, "level-triggered", size=13, anchor="start")
    d.label(20, 200, "edge-triggered", size=13, anchor="start")
    for x in (205, 245, 285, 325, 365, 405, 525, 565, 605):
        d.add(f'<circle cx="{x}" cy="135" r="6" fill="{GREEN}"/>')
    for x in (205, 525):
        d.add(f'<circle cx="{x}" cy="195" r="6" fill="{RED}"/>')
    d.line(140, 135, 640, 135, FAINT, width=1)
    d.line(140, 195, 640, 195, FAINT, width=1)
    d.label(365, 222, "who stops reading here waits until something new arrives", size=13, colour=RED)
    return d


def ch06_water():
    """The queue of a connection, between its marks."""
    d = Drawing(680, 270, "The queue of answers of a connection: at the high watermark the loop stops reading requests, at the low one it goes on")
    d.box(30, 105, 120, 60, "slow client", "reads little", RED)
    d.box(270, 40, 140, 190, colour=FAINT)
    d.add(f'<rect x="276" y="96" width="128" height="128" fill="#f8ecd2"/>')
    d.label(340, 138, "answers\nthat wait", colour=GOLD, bold=True)
    d.line(250, 80, 430, 80, RED)
    d.label(440, 77, "high: 64 KiB", colour=RED, anchor="start", bold=True)
    d.label(440, 95, "stop reading requests", size=13, anchor="start")
    d.line(250, 190, 430, 190, GREEN)
    d.label(440, 187, "low: 16 KiB", colour=GREEN, anchor="start", bold=True)
    d.label(440, 205, "read requests again", size=13, anchor="start")
    d.arrow(270, 150, 150, 145, "answers", GOLD)
    d.label(90, 205, "its own send buffer\nfills: it has to wait", size=13, colour=FAINT)
    d.label(340, 256, "the queue of one connection", size=13, colour=FAINT)
    return d


def ch06_memory():
    """The loop's memory with marks and without."""
    d = Drawing(680, 320, "Without a watermark the memory grows to nearly 10 MiB in 100 rounds; with one it stays below 0.2 MiB")
    data = rows("ch06_memory.csv")
    series = [
        (name, colour, [(row["round"], row[column] / 1024) for row in data])
        for name, colour, column in (("no mark", RED, "unbounded_kib"), ("64 KiB", GREEN, "bounded_kib"))
    ]
    x_ticks = [(0, "0"), (25, "25"), (50, "50"), (75, "75"), (100, "100")]
    y_ticks = [(0, "0"), (2.5, "2.5 MiB"), (5, "5 MiB"), (7.5, "7.5 MiB"), (10, "10 MiB")]
    d.plot(80, 50, 570, 200, series, "rounds, of 64 KiB of requests each", "kept by the loop", x_ticks, y_ticks)
    return d


DRAWINGS = [ch06_loop, ch06_edge, ch06_water, ch06_memory]
