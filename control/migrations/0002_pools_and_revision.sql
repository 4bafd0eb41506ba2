-- Every statement here runs on SQLite and on PostgreSQL. A migration that was released never changes.

-- One row: which installation this is, and a number that every change raises.
CREATE TABLE installation (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    id TEXT NOT NULL,
    revision BIGINT NOT NULL
);

-- Groups of participants.
CREATE TABLE pools (
    name TEXT NOT NULL PRIMARY KEY,
    created_at_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    note TEXT NOT NULL
);

INSERT INTO pools (name, created_at_ms, created_by, note)
VALUES ('default', 0, 'handfast', 'of every namespace that is pinned to no other');

-- Which pool serves a namespace. Rows are inserted, never updated; the highest version counts.
CREATE TABLE placements (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    version BIGINT NOT NULL,
    pool TEXT NOT NULL REFERENCES pools (name),
    changed_at_ms BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (namespace, version)
);
