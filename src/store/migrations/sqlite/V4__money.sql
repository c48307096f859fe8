-- Money: what generations are counted by, the ledger, what is taken of budgets, and quotes.

ALTER TABLE generations ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
-- That of its last attempt.
ALTER TABLE generations ADD COLUMN model TEXT NOT NULL DEFAULT '';
-- They outlive the record's own, so that budgets and usage by label stay right when it is deleted.
ALTER TABLE generations ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
-- What a cached or shared result saved.
ALTER TABLE generations ADD COLUMN saved BIGINT NOT NULL DEFAULT 0;
-- 1 if it ended charged at a price that nobody knows.
ALTER TABLE generations ADD COLUMN unpriced BIGINT NOT NULL DEFAULT 0;
UPDATE generations SET
    created_at = coalesce(unixepoch(doc ->> '$.created_at') * 1000000, 0),
    model = coalesce(doc ->> '$.attempts[#-1].model', doc ->> '$.candidates[0].model', ''),
    labels = coalesce(doc -> '$.labels', '{}'),
    saved = coalesce(doc ->> '$.cost.saved', 0);
CREATE INDEX generations_by_age ON generations (tenant, created_at);

-- Every movement of money, each written with the change that it follows from. Never changed and never deleted.
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    generation TEXT NOT NULL,
    session TEXT NOT NULL,
    -- Of the attempt it is about.
    model TEXT NOT NULL,
    at BIGINT NOT NULL,
    -- When that attempt's money was set aside.
    since BIGINT NOT NULL,
    reason TEXT NOT NULL,
    from_account TEXT NOT NULL,
    to_account TEXT NOT NULL,
    amount BIGINT NOT NULL
);
CREATE INDEX ledger_listed ON ledger (tenant, number);
CREATE INDEX ledger_by_generation ON ledger (generation, number);

-- What was held and paid before there was a ledger; the money of an open attempt is noted at the attempt from now on.
UPDATE generations SET doc = json_set(doc, '$.attempts[#-1].held', doc ->> '$.cost.held')
    WHERE ended = 0 AND json_array_length(doc, '$.attempts') > 0;
INSERT INTO ledger (tenant, generation, session, model, at, since, reason, from_account, to_account, amount)
    SELECT g.tenant, g.id, g.session, a.value ->> 'model', g.created_at,
        coalesce(unixepoch(a.value ->> 'created_at') * 1000000, g.created_at), 'hold', 'caller', 'held', a.value ->> 'held'
    FROM generations g, json_each(g.doc, '$.attempts') a WHERE g.ended = 0 AND (a.value ->> 'held') > 0;
INSERT INTO ledger (tenant, generation, session, model, at, since, reason, from_account, to_account, amount)
    SELECT g.tenant, g.id, g.session, a.value ->> 'model', coalesce(unixepoch(a.value ->> 'ended_at') * 1000000, g.created_at),
        coalesce(unixepoch(a.value ->> 'created_at') * 1000000, g.created_at), 'settle', 'caller', 'provider', a.value ->> 'settled'
    FROM generations g, json_each(g.doc, '$.attempts') a WHERE (a.value ->> 'settled') > 0;

-- What is taken of each budget, for the check before an order is accepted. It follows from the ledger and is counted anew at each start.
CREATE TABLE spending (
    budget TEXT NOT NULL,
    account TEXT NOT NULL,
    -- Start of the period; 0 for a budget without periods.
    since BIGINT NOT NULL,
    held BIGINT NOT NULL,
    spent BIGINT NOT NULL,
    PRIMARY KEY (budget, account, since)
) WITHOUT ROWID;

CREATE TABLE quotes (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    doc TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- 1 once an order was made with it.
    used BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX quotes_by_end ON quotes (expires_at);
