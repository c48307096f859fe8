-- Records are JSON in `doc`; what is looked up or listed by has a column of its own. Times that we write are microseconds since 1970 (UTC).
-- Every key that a caller can name starts with the tenant. Keys are compared byte by byte, whatever the language of the database.

CREATE TABLE filmgate.generations (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    -- 1 once the state is an end.
    ended BIGINT NOT NULL,
    -- 1 for a tombstone, which only its request id finds; 2 for one that has expired, which its name finds too.
    deleted BIGINT NOT NULL,
    -- The generation whose job it shares.
    leader TEXT COLLATE "C",
    -- The digest while identical orders may share its job.
    open_digest TEXT COLLATE "C",
    -- 1 if the session had no earlier turn.
    first_turn BIGINT NOT NULL,
    -- Digest of the model and brief for which its open attempt has an intent without a ticket.
    submitting TEXT COLLATE "C",
    -- The provider at which it waits for a place, and since when.
    waits_for TEXT COLLATE "C",
    waits_since BIGINT NOT NULL,
    -- Number of the snapshot in `doc`.
    sequence BIGINT NOT NULL,
    -- The process that drives it; empty for nobody. It stays when it has ended.
    owner TEXT COLLATE "C" NOT NULL,
    -- The number of the owner's claim.
    fence BIGINT NOT NULL,
    -- When it ended; NULL before.
    ended_at BIGINT,
    created_at BIGINT NOT NULL,
    -- That of its last attempt.
    model TEXT COLLATE "C" NOT NULL,
    -- They outlive the record's own, so that budgets and usage by label stay right when it is deleted.
    labels JSONB NOT NULL,
    -- What a cached or shared result saved.
    saved BIGINT NOT NULL,
    -- 1 if it ended charged at a price that nobody knows.
    unpriced BIGINT NOT NULL DEFAULT 0,
    doc TEXT NOT NULL
-- Progress changes no index, so that with room on its page a row is rewritten in place.
) WITH (fillfactor = 80);
CREATE INDEX generations_unfinished ON filmgate.generations (owner, id) WHERE ended = 0;
CREATE INDEX generations_waiting ON filmgate.generations (waits_for, waits_since, id) WHERE waits_for IS NOT NULL;
CREATE INDEX generations_by_leader ON filmgate.generations (leader, id) WHERE leader IS NOT NULL;
CREATE INDEX generations_by_digest ON filmgate.generations (tenant, open_digest, id) WHERE open_digest IS NOT NULL;
CREATE INDEX generations_submitting ON filmgate.generations (submitting) WHERE submitting IS NOT NULL;
CREATE INDEX generations_listed ON filmgate.generations (tenant, id) WHERE deleted = 0;
CREATE INDEX generations_by_state ON filmgate.generations (tenant, state, id) WHERE deleted = 0;
CREATE INDEX generations_by_session ON filmgate.generations (tenant, session, id) WHERE deleted = 0;
CREATE INDEX generations_by_kind ON filmgate.generations (tenant, kind, id) WHERE deleted = 0;

CREATE INDEX generations_by_age ON filmgate.generations (tenant, created_at);
CREATE INDEX generations_by_end ON filmgate.generations (ended_at) WHERE deleted = 0 AND ended_at IS NOT NULL;

-- No two claims have the same number.
CREATE SEQUENCE filmgate.fences;

-- Who drives generations, and until when nobody else may take them, by the clock of the database.
CREATE TABLE filmgate.processes (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    lease_until TIMESTAMPTZ NOT NULL
);

-- What others changed of a process's generations and it has not asked about yet.
CREATE TABLE filmgate.hints (
    process TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (process, generation)
);

-- The history of each generation.
CREATE TABLE filmgate.events (
    generation TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (generation, number)
);

CREATE TABLE filmgate.sessions (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    n_messages BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX sessions_listed ON filmgate.sessions (tenant, created_at, id);

CREATE TABLE filmgate.messages (
    tenant TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, session, number)
);

CREATE TABLE filmgate.artifacts (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C",
    kind TEXT COLLATE "C" NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX artifacts_listed ON filmgate.artifacts (tenant, created_at, id);
CREATE INDEX artifacts_by_kind ON filmgate.artifacts (tenant, kind, created_at, id);
CREATE INDEX artifacts_by_generation ON filmgate.artifacts (tenant, generation, created_at, id) WHERE generation IS NOT NULL;
CREATE INDEX artifacts_by_blob ON filmgate.artifacts (blob);
CREATE INDEX artifacts_by_age ON filmgate.artifacts (created_at);

-- The artifacts that unfinished generations start from.
CREATE TABLE filmgate.inputs (
    tenant TEXT COLLATE "C" NOT NULL,
    artifact TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, artifact, generation)
);
CREATE INDEX inputs_by_generation ON filmgate.inputs (generation);

-- The report of each end that somebody is to be told of. Written with the end itself, so that none is lost.
CREATE TABLE filmgate.callbacks (
    generation TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Host and port of its address.
    host TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    n_tries BIGINT NOT NULL,
    -- When it first fell due.
    since BIGINT NOT NULL,
    -- When it is to be sent, or the claim on it ends; none once it was taken or given up.
    due_at BIGINT,
    last_status BIGINT,
    last_error TEXT,
    delivered_at BIGINT
);
CREATE INDEX callbacks_due ON filmgate.callbacks (due_at, host) WHERE due_at IS NOT NULL;

-- The callers' keys of requests, with the request as it was sent.
CREATE TABLE filmgate.request_ids (
    tenant TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    sent TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX request_ids_by_age ON filmgate.request_ids (created_at);

-- Earlier results by order; the scope is a session, or * for results that no conversation had a part in.
CREATE TABLE filmgate.cached (
    tenant TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    scope TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, digest, scope)
);
CREATE INDEX cached_by_generation ON filmgate.cached (generation);
CREATE INDEX cached_by_scope ON filmgate.cached (tenant, scope) WHERE scope <> '*';

-- Which generation a provider's job belongs to. A row outlives the attempt, so that nobody else adopts the job as a lost one.
CREATE TABLE filmgate.jobs (
    provider TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    job TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    -- 1 while the attempt that holds the ticket is open.
    open BIGINT NOT NULL,
    PRIMARY KEY (provider, account, job)
);
CREATE INDEX jobs_open ON filmgate.jobs (generation) WHERE open = 1;

-- Every movement of money, each written with the change that it follows from. Never changed and never deleted.
CREATE TABLE filmgate.ledger (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    -- Of the attempt it is about.
    model TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    -- When that attempt's money was set aside.
    since BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    from_account TEXT COLLATE "C" NOT NULL,
    to_account TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL
);
CREATE INDEX ledger_listed ON filmgate.ledger (tenant, number);
CREATE INDEX ledger_by_generation ON filmgate.ledger (generation, number);

-- What is taken of each budget, for the check before an order is accepted. It follows from the ledger and is counted anew at each start.
CREATE TABLE filmgate.spending (
    budget TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    -- Start of the period; 0 for a budget without periods.
    since BIGINT NOT NULL,
    held BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    PRIMARY KEY (budget, account, since)
) WITH (fillfactor = 50);

CREATE TABLE filmgate.quotes (
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    doc TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- 1 once an order was made with it.
    used BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX quotes_by_end ON filmgate.quotes (expires_at);
