//! The statements that only this store has: those with locks, owners and fences, and a few that save a round trip.
//!
//! Parameters and types as in the shared catalogue; every table is named with its schema. `1 / count(*)` over the rows that an update of a
//! generation changed fails the transaction if it changed none: its answer is read only after the `COMMIT` behind it was sent.

/// Serialises what follows in this transaction among all that lock the same number. Ends with the transaction.
pub(super) const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";

/// A new number for a claim.
pub(super) const FENCE: &str = "SELECT nextval('filmgate.fences')";

pub(super) const INSERT: &str = "INSERT INTO filmgate.generations \
    (id, tenant, session, kind, state, ended, deleted, leader, open_digest, first_turn, submitting, waits_for, waits_since, sequence, \
    owner, fence, doc, ended_at, works_at, created_at, model, labels, saved) \
    VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21::jsonb, $22)";

/// As in the shared catalogue.
pub(super) const INSERT_CHAT: &str = "INSERT INTO filmgate.chats (id, tenant, session, model, labels, created_at, ended_at, state, \
    input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost) \
    VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (id) DO NOTHING";

/// Mere progress.
pub(super) const UPDATE_DOC: &str = "WITH changed AS (UPDATE filmgate.generations SET sequence = $4, doc = $5 \
    WHERE id = $1 AND owner = $2 AND fence = $3 RETURNING 1) SELECT 1 / count(*) FROM changed";

pub(super) const UPDATE: &str = "WITH changed AS (UPDATE filmgate.generations \
    SET sequence = $4, doc = $5, state = $6, ended = $7, leader = $8, open_digest = $9, submitting = $10, waits_for = $11, waits_since = $12, \
    ended_at = $13, works_at = $14, model = $15, saved = $16, unpriced = $17 \
    WHERE id = $1 AND owner = $2 AND fence = $3 RETURNING 1) SELECT 1 / count(*) FROM changed";

/// Jobs at work at a provider, of all processes, and at one of its models.
pub(super) const AT_PROVIDER: &str =
    "SELECT count(*) FROM filmgate.generations WHERE works_at IS NOT NULL AND split_part(works_at, '/', 1) = $1";
pub(super) const AT_MODEL: &str = "SELECT count(*) FROM filmgate.generations \
    WHERE works_at IS NOT NULL AND split_part(works_at, '/', 1) = $1 AND works_at = $2";
/// The time by the clock of the database, in microseconds since 1970.
pub(super) const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
/// As in the shared catalogue, for so many microseconds from now.
pub(super) const PAUSE: &str = "INSERT INTO filmgate.pauses (provider, until) \
    VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $2) \
    ON CONFLICT (provider) DO UPDATE SET until = excluded.until WHERE pauses.until < excluded.until";

/// The claim goes with the job.
pub(super) const GIVE_CLAIM: &str = "WITH changed AS (UPDATE filmgate.generations SET owner = $4, fence = $5 \
    WHERE id = $1 AND owner = $2 AND fence = $3 RETURNING 1) SELECT 1 / count(*) FROM changed";

/// For a change, also of a tombstone.
pub(super) const LOAD_LOCKED: &str =
    "SELECT doc, deleted, owner, fence FROM filmgate.generations WHERE id = $1 FOR UPDATE";
pub(super) const LOAD: &str = "SELECT doc, deleted, owner, fence FROM filmgate.generations WHERE id = $1";
pub(super) const FOLLOWERS_LOCKED: &str =
    "SELECT doc, deleted, owner, fence FROM filmgate.generations WHERE leader = $1 ORDER BY id FOR UPDATE";
pub(super) const OF_TENANT_LOCKED: &str =
    "SELECT doc FROM filmgate.generations WHERE id = $2 AND tenant = $1 AND deleted <> 1 FOR UPDATE";

// If the leader is being changed by another transaction, these wait for its end and look at the leader again.
pub(super) const LEADER_OF_FIRST_TURN: &str = "SELECT id FROM filmgate.generations \
    WHERE tenant = $1 AND open_digest = $2 AND first_turn = 1 ORDER BY id LIMIT 1 FOR UPDATE";
pub(super) const LEADER_IN_SESSION: &str = "SELECT id FROM filmgate.generations \
    WHERE tenant = $1 AND open_digest = $2 AND session = $3 ORDER BY id LIMIT 1 FOR UPDATE";

// Until this transaction ends nobody deletes the earlier result or an output of it, so that its bytes are not taken away as unreferenced.
pub(super) const CACHED: &str = "SELECT g.doc FROM filmgate.cached c JOIN filmgate.generations g ON g.id = c.generation \
    WHERE c.tenant = $1 AND c.digest = $2 AND c.scope = $3 AND g.deleted = 0 FOR SHARE OF g";
pub(super) const CACHED_OUTPUTS: &str = "SELECT a.id FROM filmgate.artifacts a WHERE a.tenant = $1 AND a.generation = \
    (SELECT c.generation FROM filmgate.cached c WHERE c.tenant = $1 AND c.digest = $2 AND c.scope = $3) \
    ORDER BY a.id FOR KEY SHARE OF a";

/// Appends to a session that is there; nothing happens to one that is not. The clocks of two processes differ, and its time never goes back.
pub(super) const APPEND: &str = "WITH grown AS (UPDATE filmgate.sessions \
    SET n_messages = n_messages + $3, updated_at = GREATEST(updated_at, $4) \
    WHERE tenant = $1 AND id = $2 RETURNING n_messages) \
    INSERT INTO filmgate.messages (tenant, session, number, doc) SELECT $1, $2, grown.n_messages - $3 + said.number, said.doc \
    FROM grown, unnest($5) WITH ORDINALITY AS said (doc, number)";
pub(super) const LAST_MESSAGES: &str =
    "SELECT doc FROM filmgate.messages WHERE tenant = $1 AND session = $2 ORDER BY number DESC LIMIT $3";

pub(super) const ARTIFACT_LOCKED: &str = "SELECT doc FROM filmgate.artifacts WHERE tenant = $1 AND id = $2 FOR UPDATE";
pub(super) const UNREFERENCED: &str = "SELECT key FROM unnest($1) WITH ORDINALITY AS asked (key, number) \
    WHERE NOT EXISTS (SELECT 1 FROM filmgate.artifacts WHERE blob = key) \
    AND NOT EXISTS (SELECT 1 FROM filmgate.generations WHERE ended = 0 AND position(key IN doc) > 0) ORDER BY number";

/// As in the shared catalogue; two that claim at the same time get different ones.
pub(super) const CLAIM_CALLBACKS: &str = "UPDATE filmgate.callbacks SET due_at = $2 WHERE generation IN \
    (SELECT generation FROM filmgate.callbacks WHERE due_at <= $1 AND replace($3, ' ' || host || ' ', '') = $3 \
    ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED) \
    RETURNING generation, state, n_tries, since, last_status, last_error, due_at, delivered_at";

// As in the shared catalogue; what another process has in hand is left to it.
pub(super) const EXPIRING_GENERATIONS: &str = "SELECT g.doc FROM filmgate.generations g \
    WHERE g.deleted = 0 AND g.ended_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM filmgate.artifacts a JOIN filmgate.inputs i ON i.tenant = a.tenant AND i.artifact = a.id \
    WHERE a.tenant = g.tenant AND a.generation = g.id) ORDER BY g.ended_at LIMIT $2 FOR UPDATE OF g SKIP LOCKED";
pub(super) const EXPIRING_ARTIFACTS: &str = "SELECT a.tenant, a.id, a.blob FROM filmgate.artifacts a \
    WHERE a.created_at < $1 AND NOT EXISTS \
    (SELECT 1 FROM filmgate.inputs i WHERE i.tenant = a.tenant AND i.artifact = a.id) \
    ORDER BY a.created_at LIMIT $2 FOR UPDATE OF a SKIP LOCKED";

/// One of two orders with the same quote waits for the other.
pub(super) const QUOTE_LOCKED: &str = "SELECT doc, used FROM filmgate.quotes WHERE tenant = $1 AND id = $2 FOR UPDATE";
/// Until the transaction ends nobody changes what is taken of budgets.
pub(super) const LOCK_SPENDING: &str = "LOCK TABLE filmgate.spending IN SHARE ROW EXCLUSIVE MODE";

/// Renews the lease by the clock of the database, because those of the processes may differ.
pub(super) const HEARTBEAT: &str = "INSERT INTO filmgate.processes (id, lease_until) \
    VALUES ($1, clock_timestamp() + $2 * interval '1 microsecond') ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until";
/// What an earlier run of this process left gets new claims, so that nothing of that run can write any more.
pub(super) const RENEW_CLAIMS: &str =
    "UPDATE filmgate.generations SET fence = nextval('filmgate.fences') WHERE owner = $1 AND ended = 0";

pub(super) const OWNED: &str = "SELECT doc, deleted, owner, fence FROM filmgate.generations \
    WHERE owner = $1 AND ended = 0 AND id > $2 ORDER BY id LIMIT $3";

/// Owners of unfinished generations without a lease; an index is asked for one owner after the other.
pub(super) const GONE: &str = "WITH RECURSIVE owners (id) AS ( \
    (SELECT owner FROM filmgate.generations WHERE ended = 0 ORDER BY owner LIMIT 1) UNION ALL \
    SELECT (SELECT owner FROM filmgate.generations WHERE ended = 0 AND owner > owners.id ORDER BY owner LIMIT 1) \
    FROM owners WHERE owners.id IS NOT NULL) \
    SELECT id FROM owners WHERE id IS NOT NULL AND id <> $1 \
    AND NOT EXISTS (SELECT 1 FROM filmgate.processes p WHERE p.id = owners.id AND p.lease_until > clock_timestamp())";
/// Of one owner, so that the index gives them in order and the rest need not be looked at.
pub(super) const TAKE_OVER: &str = "WITH taken AS (SELECT id FROM filmgate.generations g \
    WHERE g.ended = 0 AND g.owner = $2 \
    AND NOT EXISTS (SELECT 1 FROM filmgate.processes p WHERE p.id = $2 AND p.lease_until > clock_timestamp()) \
    ORDER BY g.id LIMIT $3 FOR UPDATE OF g SKIP LOCKED) \
    UPDATE filmgate.generations g SET owner = $1, fence = nextval('filmgate.fences') FROM taken WHERE g.id = taken.id \
    RETURNING g.doc, g.deleted, g.owner, g.fence";
/// Processes that have been gone for long and own nothing unfinished, with their hints.
pub(super) const FORGET_GONE: &str = "WITH gone AS (DELETE FROM filmgate.processes p \
    WHERE p.lease_until < clock_timestamp() - interval '1 day' \
    AND NOT EXISTS (SELECT 1 FROM filmgate.generations g WHERE g.owner = p.id AND g.ended = 0) RETURNING p.id) \
    DELETE FROM filmgate.hints h USING gone WHERE h.process = gone.id";

/// Only from owners that live: what others left behind is taken over whole.
pub(super) const TAKE_WAITING: &str = "WITH taken AS (SELECT g.id, g.owner FROM filmgate.generations g \
    WHERE g.waits_for = $2 AND g.waits_since < $3 AND g.owner <> $1 \
    AND EXISTS (SELECT 1 FROM filmgate.processes p WHERE p.id = g.owner AND p.lease_until > clock_timestamp()) \
    ORDER BY g.waits_since, g.id LIMIT $4 FOR UPDATE OF g SKIP LOCKED), \
    told AS (INSERT INTO filmgate.hints (process, generation) SELECT taken.owner, taken.id FROM taken ORDER BY taken.id \
    ON CONFLICT (process, generation) DO UPDATE SET process = excluded.process) \
    UPDATE filmgate.generations g SET owner = $1, fence = nextval('filmgate.fences') FROM taken WHERE g.id = taken.id \
    RETURNING g.doc, g.deleted, g.owner, g.fence";

/// A hint that is there already is locked, not left alone: otherwise its reader could take it away before this change can be seen.
pub(super) const HINT: &str = "INSERT INTO filmgate.hints (process, generation) VALUES ($1, $2) \
    ON CONFLICT (process, generation) DO UPDATE SET process = excluded.process";
pub(super) const HINT_OWNER: &str = "INSERT INTO filmgate.hints (process, generation) \
    SELECT owner, id FROM filmgate.generations WHERE id = $2 AND owner <> $1 AND owner <> '' \
    ON CONFLICT (process, generation) DO UPDATE SET process = excluded.process";
/// Those that a writer still holds are left for the next time.
pub(super) const TAKE_HINTS: &str = "DELETE FROM filmgate.hints WHERE (process, generation) IN \
    (SELECT process, generation FROM filmgate.hints WHERE process = $1 ORDER BY generation LIMIT $2 FOR UPDATE SKIP LOCKED) \
    RETURNING generation";
pub(super) const FORGET_HINTS: &str = "DELETE FROM filmgate.hints WHERE process = $1";
pub(super) const LOAD_MANY: &str = "SELECT g.doc, g.deleted, g.owner, g.fence \
    FROM unnest($1) AS asked (id) JOIN filmgate.generations g ON g.id = asked.id ORDER BY g.id";

pub(super) const NEWER: &str = "SELECT g.doc FROM unnest($1, $2) AS known (id, sequence) \
    JOIN filmgate.generations g ON g.id = known.id AND g.sequence > known.sequence WHERE g.deleted <> 1";

pub(super) const GIVE_UP: &str = "UPDATE filmgate.generations SET owner = '', fence = nextval('filmgate.fences') \
    WHERE owner = $1 AND ended = 0";
pub(super) const FORGET_PROCESS: &str = "DELETE FROM filmgate.processes WHERE id = $1";

/// Every text, for the tests.
#[cfg(test)]
pub(super) const ALL: &[&str] = &[
    LOCK,
    FENCE,
    INSERT,
    INSERT_CHAT,
    UPDATE_DOC,
    UPDATE,
    AT_PROVIDER,
    AT_MODEL,
    CLOCK,
    PAUSE,
    GIVE_CLAIM,
    LOAD_LOCKED,
    LOAD,
    FOLLOWERS_LOCKED,
    OF_TENANT_LOCKED,
    LEADER_OF_FIRST_TURN,
    LEADER_IN_SESSION,
    CACHED,
    CACHED_OUTPUTS,
    APPEND,
    LAST_MESSAGES,
    ARTIFACT_LOCKED,
    UNREFERENCED,
    CLAIM_CALLBACKS,
    EXPIRING_GENERATIONS,
    EXPIRING_ARTIFACTS,
    QUOTE_LOCKED,
    HEARTBEAT,
    RENEW_CLAIMS,
    OWNED,
    GONE,
    TAKE_OVER,
    FORGET_GONE,
    TAKE_WAITING,
    HINT,
    HINT_OWNER,
    TAKE_HINTS,
    FORGET_HINTS,
    LOAD_MANY,
    NEWER,
    GIVE_UP,
    FORGET_PROCESS,
];
