-- Records are JSON in `doc`; what is looked up or listed by has a column of its own. Times are microseconds since 1970 (UTC).
-- Every key that a caller can name starts with the tenant.

CREATE TABLE generations (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    -- 1 once the state is an end.
    ended BIGINT NOT NULL,
    -- 1 for a tombstone, which only its request id finds.
    deleted BIGINT NOT NULL,
    -- The generation whose job it shares.
    leader TEXT,
    -- The digest while identical orders may share its job.
    open_digest TEXT,
    -- 1 if the session had no earlier turn.
    first_turn BIGINT NOT NULL,
    -- Digest of the model and brief for which its open attempt has an intent without a ticket.
    submitting TEXT,
    doc TEXT NOT NULL
);
CREATE INDEX generations_unfinished ON generations (id) WHERE ended = 0;
CREATE INDEX generations_by_leader ON generations (leader, id) WHERE leader IS NOT NULL;
CREATE INDEX generations_by_digest ON generations (tenant, open_digest, id) WHERE open_digest IS NOT NULL;
CREATE INDEX generations_submitting ON generations (submitting) WHERE submitting IS NOT NULL;
CREATE INDEX generations_listed ON generations (tenant, id) WHERE deleted = 0;
CREATE INDEX generations_by_state ON generations (tenant, state, id) WHERE deleted = 0;
CREATE INDEX generations_by_session ON generations (tenant, session, id) WHERE deleted = 0;
CREATE INDEX generations_by_kind ON generations (tenant, kind, id) WHERE deleted = 0;

-- The history of each generation.
CREATE TABLE events (
    generation TEXT NOT NULL,
    number BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (generation, number)
) WITHOUT ROWID;

CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    n_messages BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX sessions_listed ON sessions (tenant, created_at, id);

CREATE TABLE messages (
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    number BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, session, number)
) WITHOUT ROWID;

CREATE TABLE artifacts (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    generation TEXT,
    kind TEXT NOT NULL,
    blob TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX artifacts_listed ON artifacts (tenant, created_at, id);
CREATE INDEX artifacts_by_kind ON artifacts (tenant, kind, created_at, id);
CREATE INDEX artifacts_by_generation ON artifacts (tenant, generation, created_at, id) WHERE generation IS NOT NULL;
CREATE INDEX artifacts_by_blob ON artifacts (blob);

-- The callers' keys of requests, with the request as it was sent.
CREATE TABLE request_ids (
    tenant TEXT NOT NULL,
    request_id TEXT NOT NULL,
    generation TEXT NOT NULL,
    sent TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX request_ids_by_age ON request_ids (created_at);

-- Earlier results by order; the scope is a session, or * for results that no conversation had a part in.
CREATE TABLE cached (
    tenant TEXT NOT NULL,
    digest TEXT NOT NULL,
    scope TEXT NOT NULL,
    generation TEXT NOT NULL,
    PRIMARY KEY (tenant, digest, scope)
) WITHOUT ROWID;
CREATE INDEX cached_by_generation ON cached (generation);
CREATE INDEX cached_by_scope ON cached (tenant, scope) WHERE scope <> '*';

-- Which generation a provider's job belongs to. A row outlives the attempt, so that nobody else adopts the job as a lost one.
CREATE TABLE jobs (
    provider TEXT NOT NULL,
    account TEXT NOT NULL,
    job TEXT NOT NULL,
    generation TEXT NOT NULL,
    -- 1 while the attempt that holds the ticket is open.
    open BIGINT NOT NULL,
    PRIMARY KEY (provider, account, job)
) WITHOUT ROWID;
CREATE INDEX jobs_open ON jobs (generation) WHERE open = 1;

CREATE TABLE heartbeat (
    id BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
