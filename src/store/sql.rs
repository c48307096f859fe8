//! Every statement on records, in the SQL that SQLite and PostgreSQL share: parameters are `?1` (a store for PostgreSQL writes them `$1`),
//! ids and JSON are TEXT, times are BIGINT microseconds, truths are BIGINT 0 or 1.

pub(super) const HEARTBEAT: &str =
    "INSERT INTO heartbeat (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";

pub(super) mod generation {
    pub(in crate::store) const INSERT: &str = "INSERT INTO generations \
        (id, tenant, session, kind, state, ended, deleted, leader, open_digest, first_turn, submitting, doc) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10, ?11)";
    pub(in crate::store) const UPDATE: &str = "UPDATE generations \
        SET state = ?2, ended = ?3, leader = ?4, open_digest = ?5, submitting = ?6, doc = ?7 WHERE id = ?1";
    pub(in crate::store) const LOAD: &str = "SELECT doc FROM generations WHERE id = ?1 AND deleted = 0";
    pub(in crate::store) const LOAD_EVEN_DELETED: &str = "SELECT doc FROM generations WHERE id = ?1";
    pub(in crate::store) const FIND: &str = "SELECT doc FROM generations WHERE id = ?2 AND tenant = ?1 AND deleted = 0";
    pub(in crate::store) const ENTOMB: &str = "UPDATE generations SET deleted = 1, doc = ?2 WHERE id = ?1";
    pub(in crate::store) const COUNT_UNFINISHED: &str = "SELECT count(*) FROM generations WHERE ended = 0";
    pub(in crate::store) const UNFINISHED: &str =
        "SELECT doc FROM generations WHERE ended = 0 AND id > ?1 ORDER BY id LIMIT ?2";
    pub(in crate::store) const FOLLOWERS: &str = "SELECT doc FROM generations WHERE leader = ?1 ORDER BY id";
    pub(in crate::store) const LEADER_OF_FIRST_TURN: &str = "SELECT id FROM generations \
        WHERE tenant = ?1 AND open_digest = ?2 AND first_turn = 1 ORDER BY id LIMIT 1";
    pub(in crate::store) const LEADER_IN_SESSION: &str = "SELECT id FROM generations \
        WHERE tenant = ?1 AND open_digest = ?2 AND session = ?3 ORDER BY id LIMIT 1";
    pub(in crate::store) const COUNT_SUBMITTING: &str =
        "SELECT count(*) FROM generations WHERE submitting = ?1 AND id <> ?2";

    pub(in crate::store) const INSERT_EVENT: &str = "INSERT INTO events (generation, number, doc) VALUES (?1, ?2, ?3)";
    pub(in crate::store) const EVENTS: &str =
        "SELECT doc FROM events WHERE generation = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
    pub(in crate::store) const DELETE_EVENTS: &str = "DELETE FROM events WHERE generation = ?1";
}

pub(super) mod request_id {
    pub(in crate::store) const INSERT: &str =
        "INSERT INTO request_ids (tenant, request_id, generation, sent, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    pub(in crate::store) const FIND: &str =
        "SELECT generation, sent FROM request_ids WHERE tenant = ?1 AND request_id = ?2";
    pub(in crate::store) const EXPIRE: &str = "DELETE FROM request_ids WHERE (tenant, request_id) IN \
        (SELECT tenant, request_id FROM request_ids WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
}

pub(super) mod cached {
    pub(in crate::store) const PUT: &str = "INSERT INTO cached (tenant, digest, scope, generation) VALUES (?1, ?2, ?3, ?4) \
        ON CONFLICT (tenant, digest, scope) DO UPDATE SET generation = excluded.generation";
    pub(in crate::store) const FIND: &str = "SELECT g.doc FROM cached c JOIN generations g ON g.id = c.generation \
        WHERE c.tenant = ?1 AND c.digest = ?2 AND c.scope = ?3 AND g.deleted = 0";
    pub(in crate::store) const FORGET_GENERATION: &str = "DELETE FROM cached WHERE generation = ?2 AND tenant = ?1";
    pub(in crate::store) const FORGET_SCOPE: &str =
        "DELETE FROM cached WHERE tenant = ?1 AND scope = ?2 AND scope <> '*'";
}

pub(super) mod job {
    /// Changes nothing if another generation's open attempt holds the job.
    pub(in crate::store) const CLAIM: &str = "INSERT INTO jobs (provider, account, job, generation, open) \
        VALUES (?1, ?2, ?3, ?4, 1) ON CONFLICT (provider, account, job) \
        DO UPDATE SET generation = excluded.generation, open = 1 WHERE jobs.open = 0 OR jobs.generation = excluded.generation";
    pub(in crate::store) const CLOSE: &str = "UPDATE jobs SET open = 0 WHERE generation = ?1 AND open = 1";
    pub(in crate::store) const HAND_OVER: &str = "UPDATE jobs SET generation = ?2 WHERE generation = ?1 AND open = 1";
    pub(in crate::store) const CLAIMED: &str =
        "SELECT count(*) FROM jobs WHERE provider = ?1 AND account = ?2 AND job = ?3 AND generation <> ?4";
}

pub(super) mod session {
    pub(in crate::store) const INSERT_NEW: &str = "INSERT INTO sessions (tenant, id, created_at, updated_at, n_messages) \
        VALUES (?1, ?2, ?3, ?3, 0) ON CONFLICT (tenant, id) DO NOTHING";
    pub(in crate::store) const FIND: &str =
        "SELECT id, created_at, updated_at, n_messages FROM sessions WHERE tenant = ?1 AND id = ?2";
    pub(in crate::store) const NEWEST: &str = "SELECT id, created_at, updated_at, n_messages FROM sessions \
        WHERE tenant = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2";
    pub(in crate::store) const NEWEST_AFTER: &str = "SELECT id, created_at, updated_at, n_messages FROM sessions \
        WHERE tenant = ?1 AND (created_at, id) < (?3, ?4) ORDER BY created_at DESC, id DESC LIMIT ?2";
    pub(in crate::store) const GROW: &str =
        "UPDATE sessions SET n_messages = ?3, updated_at = ?4 WHERE tenant = ?1 AND id = ?2";
    pub(in crate::store) const DELETE: &str = "DELETE FROM sessions WHERE tenant = ?1 AND id = ?2";

    pub(in crate::store) const INSERT_MESSAGE: &str =
        "INSERT INTO messages (tenant, session, number, doc) VALUES (?1, ?2, ?3, ?4)";
    pub(in crate::store) const MESSAGES: &str = "SELECT number, doc FROM messages \
        WHERE tenant = ?1 AND session = ?2 AND number > ?3 ORDER BY number LIMIT ?4";
    pub(in crate::store) const DELETE_MESSAGES: &str = "DELETE FROM messages WHERE tenant = ?1 AND session = ?2";
}

pub(super) mod artifact {
    pub(in crate::store) const INSERT: &str = "INSERT INTO artifacts (tenant, id, generation, kind, blob, created_at, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    pub(in crate::store) const FIND: &str = "SELECT doc FROM artifacts WHERE tenant = ?1 AND id = ?2";
    pub(in crate::store) const DELETE: &str = "DELETE FROM artifacts WHERE tenant = ?1 AND id = ?2";
    pub(in crate::store) const DELETE_OUTPUTS: &str = "DELETE FROM artifacts WHERE tenant = ?1 AND generation = ?2";
    pub(in crate::store) const COUNT_OUTPUTS: &str =
        "SELECT count(*) FROM artifacts WHERE tenant = ?1 AND generation = ?2";
    pub(in crate::store) const REFERS_TO_BLOB: &str = "SELECT EXISTS (SELECT 1 FROM artifacts WHERE blob = ?1)";
}

/// A list by keyset, newest first: the parts that a filter adds are conditions of their own, so that an index serves each.
///
/// Each condition is a catalogue text with `{}` in place of its parameter's number.
#[derive(Debug)]
pub(super) struct List {
    text: String,
    n_parameters: usize,
}

impl List {
    /// Generations of the tenant, its first parameter.
    pub(super) fn generations() -> Self {
        Self { text: "SELECT doc FROM generations WHERE tenant = ?1 AND deleted = 0".to_owned(), n_parameters: 1 }
    }

    /// Artifacts of the tenant, its first parameter.
    pub(super) fn artifacts() -> Self {
        Self { text: "SELECT doc FROM artifacts WHERE tenant = ?1".to_owned(), n_parameters: 1 }
    }

    /// Adds a condition; each `{}` takes the next parameter.
    pub(super) fn and(&mut self, condition: &'static str) {
        self.text.push_str(" AND ");
        self.push(condition);
    }

    /// The text with its order and limit; the limit is the last parameter.
    pub(super) fn order_by(mut self, order: &'static str) -> String {
        self.text.push_str(" ORDER BY ");
        self.text.push_str(order);
        self.push(" LIMIT {}");
        self.text
    }

    fn push(&mut self, part: &'static str) {
        for (index, piece) in part.split("{}").enumerate() {
            if index > 0 {
                self.n_parameters += 1;
                self.text.push_str(&format!("?{}", self.n_parameters));
            }
            self.text.push_str(piece);
        }
    }
}
