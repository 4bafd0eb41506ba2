-- Every statement here runs on SQLite and on PostgreSQL. A migration that was released never changes.
--
-- What deliveries keep. The two databases have no type for bytes in common: these are text, in base64. So
-- are ids (UUIDs as they are usually written) and nonces (32 hexadecimal digits). Nothing is NULL, whose
-- comparisons the two type differently: what is not there has a text that nothing else has.

-- The processes that deliver. A number that does not rise any more tells that one is gone, and needs no clock.
CREATE TABLE deliverers (
    process TEXT NOT NULL PRIMARY KEY,
    beats BIGINT NOT NULL
);

-- Who delivers a shard's messages to a target, and how far that is. Namespaces are not referred to: a mark,
-- stored every second, need not look at them.
CREATE TABLE deliveries (
    namespace TEXT NOT NULL,
    target TEXT NOT NULL,
    shard BIGINT NOT NULL,
    -- The process; empty if it was released. It has no index, so that a mark rewrites none on PostgreSQL.
    owner TEXT NOT NULL,
    -- Raised by every claim. Whoever writes names the one that it has, and writes nothing if that is gone.
    generation BIGINT NOT NULL,
    -- The log that the positions are of; empty if there is no mark yet.
    log TEXT NOT NULL,
    -- Everything before it is dealt with.
    dealt_with BIGINT NOT NULL,
    -- The log is kept from here on.
    hold BIGINT NOT NULL,
    -- Where reading goes on: bytes that only the reader understands.
    reading_place TEXT NOT NULL,
    PRIMARY KEY (namespace, target, shard)
);

-- The dead letters of a namespace change one transaction after another: each raises this number first, and
-- so locks the row until its end. Then what it has counted and selected is still so when it writes.
CREATE TABLE dead_letter_changes (
    namespace TEXT NOT NULL PRIMARY KEY,
    changes BIGINT NOT NULL
);

-- How many dead letters a target has. Every burial asks it, and whoever delivers every second, and there may be
-- very many: nobody counts them. Changed with them.
CREATE TABLE dead_letter_counts (
    namespace TEXT NOT NULL,
    target TEXT NOT NULL,
    letters BIGINT NOT NULL,
    -- Those among them that are to be sent again.
    redriving BIGINT NOT NULL,
    PRIMARY KEY (namespace, target)
);

CREATE TABLE dead_letters (
    namespace TEXT NOT NULL,
    target TEXT NOT NULL,
    shard BIGINT NOT NULL,
    -- The transaction's id, a slash, the place among its messages with five digits: the text sorts as the name.
    name TEXT NOT NULL,
    -- The ticket: the log, the commit record in it, which of its messages to the target.
    log TEXT NOT NULL,
    position BIGINT NOT NULL,
    ticket_index BIGINT NOT NULL,
    committed_at_us BIGINT NOT NULL,
    -- A colon and the key; empty without one. A key of no bytes is a key.
    message_key TEXT NOT NULL,
    message TEXT NOT NULL,
    cause TEXT NOT NULL,
    tries BIGINT NOT NULL,
    -- JSON, for people to read: nothing is asked about it.
    history TEXT NOT NULL,
    buried_at_ms BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (namespace, target, name)
);

-- For lists, which go by the time of burial: of a namespace, and of a target.
CREATE INDEX dead_letters_by_burial ON dead_letters (namespace, buried_at_ms, name, target);
CREATE INDEX dead_letters_of_target_by_burial
ON dead_letters (namespace, target, buried_at_ms, name);

-- For whoever delivers: what is to be sent again, asked every other moment, and the tickets of a claim.
CREATE INDEX dead_letters_by_ticket
ON dead_letters (namespace, target, shard, state, log, position, ticket_index);

-- Tickets of letters that were redriven or discarded before the mark had passed them. Whoever claims the
-- delivery then reads their messages again, and must not deliver them again.
CREATE TABLE settled_tickets (
    namespace TEXT NOT NULL,
    target TEXT NOT NULL,
    shard BIGINT NOT NULL,
    log TEXT NOT NULL,
    position BIGINT NOT NULL,
    ticket_index BIGINT NOT NULL,
    PRIMARY KEY (namespace, target, shard, log, position, ticket_index)
);
