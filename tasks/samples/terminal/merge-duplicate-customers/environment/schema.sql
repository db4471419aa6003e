CREATE TABLE customers (
    id INTEGER PRIMARY KEY,
    email TEXT,
    name TEXT,
    created TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    referred_by INTEGER REFERENCES customers (id)
);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    cents INTEGER NOT NULL
);
CREATE TABLE addresses (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    street TEXT NOT NULL,
    city TEXT NOT NULL,
    UNIQUE (customer_id, street, city)
);
CREATE TABLE loyalty (
    customer_id INTEGER PRIMARY KEY REFERENCES customers (id) ON DELETE CASCADE,
    points INTEGER NOT NULL
);
CREATE TABLE subscriptions (
    customer_id INTEGER NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    topic TEXT NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (customer_id, topic)
) WITHOUT ROWID;
CREATE TABLE removed (
    customer_id INTEGER PRIMARY KEY,
    email TEXT
);
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT
);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE TRIGGER remember_removed AFTER DELETE ON customers BEGIN
    INSERT INTO removed (customer_id, email) VALUES (old.id, old.email);
END;
