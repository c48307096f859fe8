-- The report of each end that somebody is to be told of. Written with the end itself, so that none is lost.

CREATE TABLE callbacks (
    generation TEXT NOT NULL PRIMARY KEY,
    -- Host and port of its address.
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    n_tries BIGINT NOT NULL,
    -- When it first fell due.
    since BIGINT NOT NULL,
    -- When it is to be sent, or the claim on it ends; none once it was taken or given up.
    due_at BIGINT,
    last_status BIGINT,
    last_error TEXT,
    delivered_at BIGINT
) WITHOUT ROWID;
CREATE INDEX callbacks_due ON callbacks (due_at, host) WHERE due_at IS NOT NULL;
