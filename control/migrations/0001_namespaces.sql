-- Every statement here runs on SQLite and on PostgreSQL. A migration that was released never changes.

CREATE TABLE namespaces (
    name TEXT NOT NULL PRIMARY KEY,
    current_version BIGINT NOT NULL
);

-- Versions are immutable: rows are inserted, never updated.
CREATE TABLE namespace_versions (
    name TEXT NOT NULL REFERENCES namespaces (name),
    version BIGINT NOT NULL,
    -- The file as it was handed in, with its comments.
    source TEXT NOT NULL,
    -- The same with every setting spelled out: what this version means, whatever the defaults become.
    canonical TEXT NOT NULL,
    changed_at_ms BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (name, version)
);
