-- Merges customers that have the same e-mail address.
BEGIN IMMEDIATE;

-- Without it every removed customer costs a search of the whole table for those that he referred.
CREATE INDEX merge_by_referrer ON customers (referred_by);

CREATE TEMP TABLE keyed AS
SELECT id, deleted, name, lower(trim(email, char(32, 9, 10, 11, 12, 13))) AS address FROM customers
WHERE trim(email, char(32, 9, 10, 11, 12, 13)) <> '';
CREATE INDEX temp.keyed_by_address ON keyed (address, deleted, id);

CREATE TEMP TABLE merged AS
SELECT keyed.id AS old, (
    SELECT other.id FROM keyed AS other WHERE other.address = keyed.address
    ORDER BY other.deleted <> 0, other.id LIMIT 1
) AS new, address
FROM keyed
WHERE address IN (SELECT address FROM keyed GROUP BY address HAVING count(*) > 1);
CREATE UNIQUE INDEX temp.merged_by_old ON merged (old);
CREATE INDEX temp.merged_by_new ON merged (new);

UPDATE orders SET customer_id = (SELECT new FROM merged WHERE old = customer_id)
WHERE customer_id IN (SELECT old FROM merged WHERE old <> new);

DELETE FROM addresses WHERE id IN (
    SELECT id FROM (
        SELECT addresses.id, row_number() OVER (PARTITION BY new, street, city ORDER BY addresses.id) AS place
        FROM addresses JOIN merged ON old = customer_id
    ) WHERE place > 1
);
UPDATE addresses SET customer_id = (SELECT new FROM merged WHERE old = customer_id)
WHERE customer_id IN (SELECT old FROM merged WHERE old <> new);

CREATE TEMP TABLE points AS
SELECT new, sum(points) AS points FROM loyalty JOIN merged ON old = customer_id GROUP BY new;
DELETE FROM loyalty WHERE customer_id IN (SELECT old FROM merged);
INSERT INTO loyalty (customer_id, points) SELECT new, points FROM temp.points;

CREATE TEMP TABLE topics AS
SELECT new, topic, min(since) AS since FROM subscriptions JOIN merged ON old = customer_id GROUP BY new, topic;
DELETE FROM subscriptions WHERE customer_id IN (SELECT old FROM merged);
INSERT INTO subscriptions (customer_id, topic, since) SELECT new, topic, since FROM temp.topics;

UPDATE customers SET referred_by = (SELECT new FROM merged WHERE old = referred_by)
WHERE referred_by IN (SELECT old FROM merged WHERE old <> new);
UPDATE customers SET referred_by = NULL
WHERE id IN (SELECT new FROM merged) AND referred_by = id;

UPDATE customers SET
    email = (SELECT address FROM merged WHERE old = customers.id),
    name = CASE WHEN coalesce(name, '') <> '' THEN name ELSE coalesce((
        SELECT keyed.name FROM merged JOIN keyed ON keyed.id = old
        WHERE new = customers.id AND coalesce(keyed.name, '') <> '' ORDER BY old LIMIT 1
    ), name) END
WHERE id IN (SELECT new FROM merged);

DELETE FROM customers WHERE id IN (SELECT old FROM merged WHERE old <> new);

DROP TABLE temp.topics;
DROP TABLE temp.points;
DROP TABLE temp.merged;
DROP TABLE temp.keyed;
DROP INDEX main.merge_by_referrer;
COMMIT;
