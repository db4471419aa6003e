"""Writes sample logs, the same ones on every machine."""
import gzip
import random
import sys
from datetime import datetime, timedelta, timezone

random.seed(20231010)
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64)", 'Feed \\"reader\\" 2.1', "curl/8.4", "back\\\\slash 1.0", "-"]
PATHS = ["/", "/shop/cart", "/shop/item", "/login", "/healthz", "/search"]


def line(address, agent, time, zone):
    stamp = time.astimezone(timezone(timedelta(minutes=zone))).strftime("%d/%b/%Y:%H:%M:%S %z")
    path = random.choice(PATHS) + random.choice(["", "?id=%d" % random.randrange(99), "?q=a b"[:4]])
    status = random.choice([200, 200, 200, 304, 404, 500, 503])
    size = random.choice(["-", str(random.randrange(9999))])
    return f'{address} - - [{stamp}] "GET {path} HTTP/1.1" {status} {size} "-" "{agent}" {random.random():.3f}\n'


last = []
for name, zone, day in (("web1.log.1", 120, 9), ("web1.log", 120, 10), ("web2.log", -420, 10), ("web3.log", 330, 10)):
    start = datetime(2023, 10, day, tzinfo=timezone.utc)
    people = [(f"192.0.2.{random.randrange(30)}", random.choice(AGENTS)) for _ in range(12)]
    times = sorted(start + timedelta(seconds=random.randrange(86400)) for _ in range(400))
    lines = [line(*random.choice(people), time, zone) for time in times]
    lines.insert(200, '192.0.2.9 - - [10/Oct/2023:13:5\n')
    if name == "web1.log":
        lines = last + lines
    last = lines[-7:]
    with open(f"{sys.argv[1]}/{name}", "wb") as file:
        data = "".join(lines).encode()
        file.write(gzip.compress(data, mtime=0) if name == "web1.log.1" else data)
