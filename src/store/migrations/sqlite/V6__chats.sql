-- Chats: what each used and cost, written once at its end. Its turns are the session's messages.
CREATE TABLE chats (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    -- Empty if it belongs to none.
    session TEXT NOT NULL,
    model TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    -- `succeeded` if the answer came to its end, else `failed`.
    state TEXT NOT NULL,
    -- As the provider counts them; absent if it did not tell.
    input_tokens BIGINT,
    cached_input_tokens BIGINT,
    output_tokens BIGINT,
    reasoning_tokens BIGINT,
    -- Absent if it cannot be told.
    cost BIGINT
) WITHOUT ROWID;
CREATE INDEX chats_by_age ON chats (tenant, created_at);

-- A movement belongs to a generation or to a chat; the other one is empty.
ALTER TABLE ledger ADD COLUMN chat TEXT NOT NULL DEFAULT '';
CREATE INDEX ledger_by_chat ON ledger (chat) WHERE chat <> '';
