import gzip
import json
import os
import random
import sys
import tempfile
from datetime import datetime, timedelta, timezone

sys.path.insert(0, "/tests")
from harness import check, main, run  # noqa: E402

BASE = datetime(2024, 2, 28, 12, tzinfo=timezone.utc)


class Log:
    """Makes lines and keeps the books about them."""

    def __init__(self):
        self.requests, self.times, self.good, self.bad = {}, {}, 0, 0

    def line(self, offset, address="198.51.100.1", agent="a", path="/", status=200, seconds="0.5", zone=0, count=1):
        """One line, `offset` seconds after the beginning, which is counted `count` times."""
        self.good += count
        plain = path.split("?")[0]
        if plain != "/healthz":
            self.requests.setdefault((address, agent), []).extend([offset] * count)
            if status < 500:
                self.times.setdefault(plain, []).extend([float(seconds)] * count)
        moment = (BASE + timedelta(seconds=offset)).astimezone(timezone(timedelta(minutes=zone)))
        stamp = moment.strftime("%d/%b/%Y:%H:%M:%S %z")
        size = random.choice(["-", "17"])
        return f'{address} - {random.choice(["-", "ann"])} [{stamp}] "GET {path} HTTP/1.1" {status} {size} "-" "{agent}" {seconds}'

    def expected(self):
        sessions = []
        for (address, _), offsets in self.requests.items():
            ordered = sorted(offsets)
            cuts = [0, *(i for i in range(1, len(ordered)) if ordered[i] - ordered[i - 1] > 1800), len(ordered)]
            sessions += [(ordered[a:b], address) for a, b in zip(cuts, cuts[1:])]
        longest = None
        if sessions:
            offsets, address = sorted(sessions, key=lambda one: (one[0][0] - one[0][-1], one[0][0], one[1]))[0]
            start = (BASE + timedelta(seconds=offsets[0])).strftime("%Y-%m-%dT%H:%M:%SZ")
            seconds = offsets[-1] - offsets[0]
            longest = {"address": address, "start": start, "seconds": seconds, "requests": len(offsets)}
        p95 = {path: sorted(times)[-(-95 * len(times) // 100) - 1] for path, times in self.times.items()}
        return {
            "lines": self.good, "bad": self.bad, "clients": len(self.requests), "sessions": len(sessions),
            "longest": longest, "p95": p95,
        }  # fmt: skip


def report(*files):
    """Run it on contents: lists of lines, or bytes."""
    place = tempfile.mkdtemp(prefix="logs ", dir="/tmp")
    os.chmod(place, 0o755)
    names = []
    for number, content in enumerate(files):
        names.append(f"{place}/access {number}.log")
        with open(names[-1], "wb") as file:
            file.write(content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode("latin-1"))
    code, out, err = run(["/app/report", *names], timeout=15)
    assert code == 0, err.decode()
    found = json.loads(out)
    for path, seconds in found.get("p95", {}).items():
        found["p95"][path] = float(seconds)
    return found


def same(log, *files):
    found, want = report(*files), log.expected()
    for key in {*found, *want}:
        assert key in found, f"no {key}"
        assert found[key] == want.get(key), f"{key}: {found[key]}, not {want.get(key)}"


@check
def counts_sessions_by_the_gap():
    log = Log()
    same(log, [log.line(0), log.line(1800), log.line(3601), log.line(3601, agent="b"), log.line(5401)])
    log = Log()
    same(log, [log.line(0, path="/healthz"), log.line(10, status=500, seconds="9.5"), log.line(20, seconds="0.25")])


@check
def knows_time_zones():
    log = Log()
    first = [log.line(offset, zone=120) for offset in (0, 1700, 9000)]
    second = [log.line(offset, zone=-420) for offset in (3400, 5000)]
    third = [log.line(offset, zone=345) for offset in (6700, 8400)]
    same(log, second, third, first)


@check
def reads_quoted_fields():
    log = Log()
    agents = ['Feed \\"reader\\" 1', 'back\\\\', 'x \\\\\\" y', '', '] \\"GET', 'caf\xe9 \xff']
    lines = [log.line(number, agent=agent) for number, agent in enumerate(agents)]
    lines.append(log.line(9, path="/a\\\"b?x=1?y=2", address="2001:db8::1"))
    same(log, lines)


@check
def counts_copied_lines_once():
    log = Log()
    twice = log.line(100, count=2)
    copied = log.line(50, count=1)
    bad = '198.51.100.1 - - [28/Feb/2024:12:0'
    log.bad += 1
    rest = [log.line(200), log.line(300, path="/b")]
    same(log, [rest[0], copied, twice, twice, bad], [bad, copied, twice, rest[1]])


@check
def reads_gzip_whatever_the_name():
    log = Log()
    lines = [log.line(number * 1000, path=f"/{number % 3}", seconds=f"0.{number:03}") for number in range(30)]
    same(log, gzip.compress("".join(f"{line}\n" for line in lines[:20]).encode()), lines[20:])


@check
def tells_bad_lines():
    log = Log()
    good = log.line(5)
    bad = [
        good.replace("28/Feb", "31/Feb"), good.replace("Feb", "Fib"), good[:-4], good[:30], "\x00\x01", good + " x", "-",
        good.replace(" 200 ", " OK "), good.replace("[", "").replace("]", ""), good.replace("12:00", "25:00"),
    ]  # fmt: skip
    log.bad = len(bad)
    same(log, [*bad[:4], good, "", *bad[4:]])


@check
def takes_percentiles_by_nearest_rank():
    log = Log()
    lines = []
    for path, number in (("/one", 1), ("/twenty", 20), ("/nineteen", 19), ("/hundred", 100), ("/forty", 40)):
        values = random.sample(range(1000), number)
        lines += [log.line(i, path=path, seconds=f"{v / 1000:.3f}") for i, v in enumerate(values)]
    random.shuffle(lines)
    same(log, lines)


@check
def finds_the_longest_session():
    log = Log()
    lines = [log.line(offset, address=address) for address in ("198.51.100.20", "198.51.100.3") for offset in (10, 500)]
    lines += [log.line(offset, address="192.0.2.7") for offset in (2000, 2490)]
    same(log, lines)
    same(Log(), [])


@check
def agrees_on_any_logs():
    for _ in range(3):
        log = Log()
        files = [[] for _ in range(4)]
        for _ in range(600):
            number = random.randrange(4)
            files[number].append(log.line(
                random.randrange(200_000), f"192.0.2.{random.randrange(25)}", random.choice(["x", 'y \\"z\\"', "w"]),
                random.choice(["/", "/a?b", "/healthz", "/c"]), random.choice([200, 302, 404, 500]),
                f"{random.random():.6f}", [0, 120, -420, 345][number],
            ))  # fmt: skip
        same(log, *files)


main()
