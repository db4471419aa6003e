import os
import random
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, "/tests")
from harness import check, main, run  # noqa: E402

BLANKS = " \t\n\r\v\f"
RUN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA foreign_keys = ON")
with open("/app/merge.sql") as file:
    connection.executescript(file.read())
connection.close()
"""
TABLES = ("customers", "orders", "addresses", "loyalty", "subscriptions", "removed", "settings")
with open("/app/schema.sql") as file:  # this machine is fresh: only the script is the agent's
    SCHEMA = file.read()


def fold(email):
    """The key of an address, or nothing."""
    stripped = (email or "").strip(BLANKS)
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in stripped) or None


def make(customers=(), orders=(), addresses=(), loyalty=(), subscriptions=(), extra=""):
    place = tempfile.mkdtemp(prefix="shop-", dir="/tmp")
    path = f"{place}/shop.db"
    with sqlite3.connect(path) as shop:
        shop.executescript(SCHEMA)
        shop.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?)", customers)
        shop.executemany("INSERT INTO orders VALUES (?, ?, ?)", orders)
        shop.executemany("INSERT INTO addresses VALUES (?, ?, ?, ?)", addresses)
        shop.executemany("INSERT INTO loyalty VALUES (?, ?)", loyalty)
        shop.executemany("INSERT INTO subscriptions VALUES (?, ?, ?)", subscriptions)
        shop.execute("INSERT INTO settings VALUES ('currency', 'EUR')")
        shop.executescript(extra)
    shop.close()
    subprocess.run(["chown", "-R", "nobody:nogroup", place], check=True)
    return path


def merge(path, ok=True):
    code, out, err = run(["/usr/bin/env", "python3", "-I", "-c", RUN, path], timeout=10)
    assert (code == 0) == ok, err.decode()[-500:]


def dump(path):
    shop = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        found = {table: sorted(shop.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}
        found["schema"] = sorted(shop.execute("SELECT type, name, sql FROM sqlite_schema").fetchall(), key=repr)
        assert shop.execute("PRAGMA foreign_key_check").fetchall() == []
        assert shop.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return found
    finally:
        shop.close()


def expected(before):
    groups = {}
    for row in before["customers"]:
        if key := fold(row[1]):
            groups.setdefault(key, []).append(row)
    new, keep, after = {}, {}, {table: list(rows) for table, rows in before.items()}
    for key, rows in groups.items():
        if len(rows) > 1:
            kept = sorted(rows, key=lambda row: (bool(row[4]), row[0]))[0]
            names = [row[2] for row in sorted(rows) if row[2]] if not kept[2] else [kept[2]]
            keep[kept[0]] = (kept[0], key, names[0] if names else kept[2], *kept[3:5])
            new.update({row[0]: kept[0] for row in rows})
    after["customers"] = []
    for row in before["customers"]:
        if new.get(row[0], row[0]) != row[0]:
            after["removed"].append((row[0], row[1]))
            continue
        referrer = new.get(row[5], row[5])
        if referrer == row[0] and (row[0] in new or row[5] != row[0]):
            referrer = None
        after["customers"].append((*keep.get(row[0], row[:5]), referrer))
    after["orders"] = [(id, new.get(owner, owner), cents) for id, owner, cents in before["orders"]]
    seen, after["addresses"] = set(), []
    for id, owner, street, city in sorted(before["addresses"]):
        place = (new.get(owner, owner), street, city)
        if place not in seen:
            seen.add(place)
            after["addresses"].append((id, *place))
    points, topics = {}, {}
    for owner, number in before["loyalty"]:
        points[new.get(owner, owner)] = points.get(new.get(owner, owner), 0) + number
    for owner, topic, since in before["subscriptions"]:
        key = (new.get(owner, owner), topic)
        topics[key] = min(since, topics.get(key, since))
    after["loyalty"] = list(points.items())
    after["subscriptions"] = [(*key, since) for key, since in topics.items()]
    return {table: sorted(rows, key=repr) for table, rows in after.items()}


def same(path):
    before = dump(path)
    want = expected(before)
    for time in ("", "the second time, "):
        merge(path)
        after = dump(path)
        for table in want:
            assert after[table] == want[table], (
                f"{time}{table}: missing {[row for row in want[table] if row not in after[table]][:3]}, "
                f"too many {[row for row in after[table] if row not in want[table]][:3]}"
            )


def customer(id, email, name="N", deleted=0, referrer=None):
    return (id, email, name, f"2024-01-{id % 28 + 1:02}", deleted, referrer)


@check
def finds_duplicates():
    same(make([
        customer(1, "Ann@Example.org"), customer(2, "ann@example.org "), customer(3, "\tANN@example.org\r\n"),
        customer(4, "bob@example.org"), customer(5, "Bob@example.org."), customer(6, "É@x.org"), customer(7, "é@x.org"),
        customer(8, "a b@x.org"), customer(9, "ab@x.org"), customer(10, "Lone@X.org "),
    ]))  # fmt: skip


@check
def leaves_those_without_an_address():
    rows = [customer(id, email) for id, email in enumerate([None, "", " ", None, "\t\n", ""], 1)]
    same(make(rows, loyalty=[(1, 5), (4, 6)]))


@check
def keeps_the_right_one():
    same(make([
        customer(1, "a@x", "", 1), customer(2, "A@x", None), customer(3, "a@X", "Third"), customer(4, "a@x ", "Fourth"),
        customer(5, "b@x", "Gone", 1), customer(6, "B@x", "Too", 1), customer(7, "c@x", ""), customer(8, "C@x", None),
    ]))  # fmt: skip


@check
def moves_what_belonged_to_them():
    same(make(
        [customer(1, "a@x", deleted=1), customer(2, "A@x"), customer(3, "a@x "), customer(4, "b@x"), customer(5, "B@x")],
        orders=[(1, 1, 100), (2, 2, 100), (3, 3, 7), (4, 4, 1)],
        addresses=[(1, 3, "s", "c"), (2, 2, "s", "c"), (3, 1, "s", "d"), (4, 4, "s", "c"), (5, 1, "s", "c")],
        loyalty=[(1, 10), (2, 20), (3, 30), (5, 7)],
        subscriptions=[(1, "t", "2024-03"), (2, "t", "2024-02"), (3, "t", "2024-01"), (3, "u", "2024-05"), (5, "t", "1")],
    ))  # fmt: skip


@check
def repairs_referrals():
    same(make([
        customer(1, "a@x"), customer(2, "b@x", referrer=1), customer(3, "A@x", referrer=2), customer(4, "c@x", referrer=3),
        customer(5, "a@X", referrer=1), customer(6, "d@x", referrer=5), customer(7, "D@x", referrer=6),
        customer(8, "e@x"), customer(9, "E@x"), customer(10, "e@x ", deleted=0, referrer=9),
    ]))  # fmt: skip
    same(make([customer(1, "a@x", deleted=1, referrer=None), customer(2, "A@x", referrer=1), customer(3, "z@x", referrer=1)]))


@check
def is_all_or_nothing():
    rows = [customer(1, "a@x"), customer(2, "A@x"), customer(3, "b@x"), customer(4, "B@x")]
    for event in ("DELETE", "UPDATE"):
        path = make(
            rows, orders=[(1, 2, 5), (2, 4, 5)], loyalty=[(1, 1), (2, 2), (3, 3), (4, 4)],
            subscriptions=[(2, "t", "1"), (4, "t", "2")], addresses=[(1, 2, "s", "c"), (2, 4, "s", "c")],
            extra=f"CREATE TRIGGER no AFTER {event} ON customers WHEN old.id IN (3, 4) BEGIN SELECT RAISE(ABORT, 'no'); END;",
        )  # fmt: skip
        before = dump(path)
        merge(path, ok=False)
        assert dump(path) == before, event


@check
def works_on_any_shop():
    for size in (60, 60, 8_000):
        emails = [f"user{number}@example.org" for number in range(size * 2 // 3)] + [None, ""]
        rows, orders, addresses, loyalty, subscriptions = [], [], [], [], []
        for id in range(1, size + 1):
            email = random.choice(emails)
            if email and random.random() < 0.5:
                email = random.choice([email.upper(), f"  {email}", f"{email}\t\n", email.title()])
            referrer = random.randrange(1, id) if id > 1 and random.random() < 0.4 else None
            rows.append(customer(id, email, random.choice([None, "", f"N{id}"]), int(random.random() < 0.3), referrer))
            orders += [(len(orders) + i, id, i) for i in range(random.randrange(3))]
            addresses += [(len(addresses) + 1, id, f"s{random.randrange(2)}", "c")] * (random.random() < 0.5)
            loyalty += [(id, random.randrange(100))] * (random.random() < 0.4)
            subscriptions += [(id, topic, f"2024-{random.randrange(10, 99)}") for topic in "ab" if random.random() < 0.3]
        same(make(rows, orders, addresses, loyalty, subscriptions))


assert os.getuid() == 0
main()
