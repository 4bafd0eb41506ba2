-- Every statement here runs on SQLite and on PostgreSQL. A migration that was released never changes.
--
-- What is due when: a copy, ordered by time, of what the namespaces' tables say.

-- The entries of a namespace change one transaction after another: each raises this number first, and so locks
-- the row until its end. Two that change many rows in whatever order never wait for each other.
CREATE TABLE delay_changes (
    namespace TEXT NOT NULL PRIMARY KEY,
    changes BIGINT NOT NULL
);

CREATE TABLE delays (
    namespace TEXT NOT NULL,
    -- The transaction's id, a slash, the place among what it scheduled with five digits: the text sorts as the
    -- name.
    name TEXT NOT NULL,
    shard BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    -- When the transaction committed that said so: what an earlier one said changes nothing.
    written_us BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
);

-- For lists of a namespace, and for counts.
CREATE INDEX delays_by_time ON delays (namespace, state, due_ms, name);

-- For whoever does what is due in a shard.
CREATE INDEX delays_of_shard_by_time ON delays (namespace, shard, state, due_ms, name);
