"""Fills the sample database, the same way on every machine."""
import random
import sqlite3
import sys

random.seed(11)
shop = sqlite3.connect(sys.argv[2])
shop.executescript(open(sys.argv[1]).read())
emails = [f"user{number}@example.org" for number in range(40)] + [None, "", " "]
for id in range(1, 81):
    email = random.choice(emails)
    if email and random.random() < 0.4:
        email = random.choice([email.upper(), f" {email}", f"{email}\t", email.title()])
    name = random.choice([None, "", "Ann", "Bob", "Chloé"])
    referrer = random.choice([None, None, random.randrange(1, id)]) if id > 1 else None
    row = (id, email, name, f"2023-{id % 12 + 1:02}-01", int(random.random() < 0.2), referrer)
    shop.execute("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?)", row)
    for _ in range(random.randrange(3)):
        shop.execute("INSERT INTO orders (customer_id, cents) VALUES (?, ?)", (id, random.randrange(99999)))
    if random.random() < 0.6:
        shop.execute("INSERT INTO addresses (customer_id, street, city) VALUES (?, ?, 'Ulm')", (id, f"Street {id % 3}"))
    if random.random() < 0.5:
        shop.execute("INSERT INTO loyalty VALUES (?, ?)", (id, random.randrange(500)))
    if random.random() < 0.5:
        shop.execute("INSERT INTO subscriptions VALUES (?, ?, ?)", (id, random.choice("ab"), f"2024-01-{id % 28 + 1:02}"))
shop.execute("INSERT INTO settings VALUES ('currency', 'EUR')")
shop.commit()
shop.close()
