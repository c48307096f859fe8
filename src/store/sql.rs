//! Every statement on records, in the SQL that SQLite and PostgreSQL share: parameters are `?1` (the PostgreSQL store writes them `$1`),
//! ids and JSON are TEXT, times are BIGINT microseconds, truths are BIGINT 0 or 1.

macro_rules! catalogue {
    ($($group:ident { $($(#[$doc:meta])* $name:ident = $text:literal;)+ })+) => {
        $(pub(super) mod $group {
            $($(#[$doc])* pub(in crate::store) const $name: &str = $text;)+
        })+

        /// Every text, for stores that translate them and for tests.
        pub(super) const ALL: &[&str] = &[$($($group::$name),+),+];
    };
}

catalogue! {
    health {
        HEARTBEAT = "INSERT INTO heartbeat (id, at) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
    }

    generation {
        INSERT = "INSERT INTO generations \
            (id, tenant, session, kind, state, ended, deleted, leader, open_digest, first_turn, submitting, doc, ended_at, \
            created_at, model, labels, saved) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        UPDATE_DOC = "UPDATE generations SET doc = ?2 WHERE id = ?1";
        UPDATE_STATE = "UPDATE generations SET state = ?2, submitting = ?3, doc = ?4 WHERE id = ?1";
        UPDATE = "UPDATE generations \
            SET state = ?2, ended = ?3, leader = ?4, open_digest = ?5, submitting = ?6, doc = ?7, ended_at = ?8, \
            model = ?9, saved = ?10, unpriced = ?11 WHERE id = ?1";
        LOAD = "SELECT doc FROM generations WHERE id = ?1 AND deleted <> 1";
        LOAD_EVEN_DELETED = "SELECT doc FROM generations WHERE id = ?1";
        FIND = "SELECT doc FROM generations WHERE id = ?2 AND tenant = ?1 AND deleted <> 1";
        ENTOMB = "UPDATE generations SET deleted = 1, doc = ?2 WHERE id = ?1";
        COUNT_UNFINISHED = "SELECT count(*) FROM generations WHERE ended = 0";
        UNFINISHED = "SELECT doc FROM generations WHERE ended = 0 AND id > ?1 ORDER BY id LIMIT ?2";
        FOLLOWERS = "SELECT doc FROM generations WHERE leader = ?1 ORDER BY id";
        LEADER_OF_FIRST_TURN = "SELECT id FROM generations \
            WHERE tenant = ?1 AND open_digest = ?2 AND first_turn = 1 ORDER BY id LIMIT 1";
        LEADER_IN_SESSION = "SELECT id FROM generations \
            WHERE tenant = ?1 AND open_digest = ?2 AND session = ?3 ORDER BY id LIMIT 1";
        COUNT_SUBMITTING = "SELECT count(*) FROM generations WHERE submitting = ?1 AND id <> ?2";

        /// The newest ends first.
        LATEST_SUCCESSES = "SELECT doc FROM generations \
            WHERE deleted = 0 AND ended_at IS NOT NULL AND state = 'succeeded' ORDER BY ended_at DESC LIMIT ?1";

        INSERT_EVENT = "INSERT INTO events (generation, number, doc) VALUES (?1, ?2, ?3)";
        EVENTS = "SELECT doc FROM events WHERE generation = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        DELETE_EVENTS = "DELETE FROM events WHERE generation = ?1";
    }

    retention {
        INSERT_INPUT = "INSERT INTO inputs (tenant, artifact, generation) VALUES (?1, ?2, ?3) \
            ON CONFLICT (tenant, artifact, generation) DO NOTHING";
        DELETE_INPUTS = "DELETE FROM inputs WHERE generation = ?1";
        /// None of them has an output that an unfinished generation starts from.
        GENERATIONS = "SELECT g.doc FROM generations g WHERE g.deleted = 0 AND g.ended_at < ?1 AND NOT EXISTS \
            (SELECT 1 FROM artifacts a JOIN inputs i ON i.tenant = a.tenant AND i.artifact = a.id \
            WHERE a.tenant = g.tenant AND a.generation = g.id) ORDER BY g.ended_at LIMIT ?2";
        EXPIRE = "UPDATE generations SET deleted = 2, doc = ?2 WHERE id = ?1";
        /// No unfinished generation starts from any of them.
        ARTIFACTS = "SELECT a.tenant, a.id, a.blob FROM artifacts a WHERE a.created_at < ?1 AND NOT EXISTS \
            (SELECT 1 FROM inputs i WHERE i.tenant = a.tenant AND i.artifact = a.id) ORDER BY a.created_at LIMIT ?2";
    }

    request_id {
        INSERT = "INSERT INTO request_ids (tenant, request_id, generation, sent, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
        FIND = "SELECT generation, sent FROM request_ids WHERE tenant = ?1 AND request_id = ?2";
        EXPIRE = "DELETE FROM request_ids WHERE (tenant, request_id) IN \
            (SELECT tenant, request_id FROM request_ids WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
    }

    cached {
        PUT = "INSERT INTO cached (tenant, digest, scope, generation) VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT (tenant, digest, scope) DO UPDATE SET generation = excluded.generation";
        FIND = "SELECT g.doc FROM cached c JOIN generations g ON g.id = c.generation \
            WHERE c.tenant = ?1 AND c.digest = ?2 AND c.scope = ?3 AND g.deleted = 0";
        FORGET_GENERATION = "DELETE FROM cached WHERE generation = ?2 AND tenant = ?1";
        FORGET_SCOPE = "DELETE FROM cached WHERE tenant = ?1 AND scope = ?2 AND scope <> '*'";
    }

    job {
        /// Changes nothing if another generation's open attempt holds the job.
        CLAIM = "INSERT INTO jobs (provider, account, job, generation, open) \
            VALUES (?1, ?2, ?3, ?4, 1) ON CONFLICT (provider, account, job) \
            DO UPDATE SET generation = excluded.generation, open = 1 WHERE jobs.open = 0 OR jobs.generation = excluded.generation";
        CLOSE = "UPDATE jobs SET open = 0 WHERE generation = ?1 AND open = 1";
        HAND_OVER = "UPDATE jobs SET generation = ?2 WHERE generation = ?1 AND open = 1";
        CLAIMED = "SELECT count(*) FROM jobs WHERE provider = ?1 AND account = ?2 AND job = ?3 AND generation <> ?4";
    }

    callback {
        /// Due now, whatever it was before.
        PUT = "INSERT INTO callbacks (generation, host, state, n_tries, since, due_at) \
            VALUES (?1, ?2, 'pending', 0, ?3, ?3) ON CONFLICT (generation) \
            DO UPDATE SET host = excluded.host, state = excluded.state, n_tries = 0, since = excluded.since, \
            due_at = excluded.due_at, last_status = NULL, last_error = NULL, delivered_at = NULL";
        /// `?3` are hosts with a blank before and after each. The outer condition decides between two claims at the same time.
        CLAIM = "UPDATE callbacks SET due_at = ?2 WHERE due_at <= ?1 AND generation IN \
            (SELECT generation FROM callbacks WHERE due_at <= ?1 AND replace(?3, ' ' || host || ' ', '') = ?3 \
            ORDER BY due_at LIMIT ?4) \
            RETURNING generation, state, n_tries, since, last_status, last_error, due_at, delivered_at";
        /// Changes nothing if the claim is not the caller's any more.
        TRIED = "UPDATE callbacks SET state = ?3, n_tries = ?4, last_status = ?5, last_error = ?6, due_at = ?7, \
            delivered_at = ?8 WHERE generation = ?1 AND due_at = ?2";
        FIND = "SELECT generation, state, n_tries, since, last_status, last_error, due_at, delivered_at \
            FROM callbacks WHERE generation = ?1";
        DELETE = "DELETE FROM callbacks WHERE generation = ?1";
    }

    money {
        INSERT_MOVEMENT = "INSERT INTO ledger \
            (tenant, generation, session, model, at, since, reason, from_account, to_account, amount, chat) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        /// Changes nothing if more than the limit would be taken then.
        CHARGE = "INSERT INTO spending (budget, account, since, held, spent) VALUES (?1, ?2, ?3, ?4, ?5) \
            ON CONFLICT (budget, account, since) \
            DO UPDATE SET held = spending.held + excluded.held, spent = spending.spent + excluded.spent \
            WHERE spending.held + spending.spent + excluded.held + excluded.spent <= ?6";
        STANDING = "SELECT held, spent FROM spending WHERE budget = ?1 AND account = ?2 AND since = ?3";
        FORGET_BUDGET = "DELETE FROM spending WHERE budget = ?1";
        FORGET_PERIODS = "DELETE FROM spending WHERE budget = ?1 AND since < ?2";

        INSERT_QUOTE = "INSERT INTO quotes (tenant, id, doc, expires_at, used) VALUES (?1, ?2, ?3, ?4, 0)";
        FIND_QUOTE = "SELECT doc, used FROM quotes WHERE tenant = ?1 AND id = ?2";
        USE_QUOTE = "UPDATE quotes SET used = 1 WHERE tenant = ?1 AND id = ?2";
        FORGET_QUOTES = "DELETE FROM quotes WHERE expires_at < ?1";
    }

    limit {
        /// A pause never becomes shorter.
        PAUSE = "INSERT INTO pauses (provider, until) VALUES (?1, ?2) \
            ON CONFLICT (provider) DO UPDATE SET until = excluded.until WHERE pauses.until < excluded.until";
        PAUSED = "SELECT until FROM pauses WHERE provider = ?1 AND until > ?2";
        SEND = "INSERT INTO sends (name, at) VALUES (?1, ?2)";
        FORGET_SENDS = "DELETE FROM sends WHERE name = ?1 AND at <= ?2";
        /// The one behind so many later ones.
        SENT = "SELECT at FROM sends WHERE name = ?1 AND at > ?2 ORDER BY at DESC LIMIT 1 OFFSET ?3";
    }

    session {
        INSERT_NEW = "INSERT INTO sessions (tenant, id, created_at, updated_at, n_messages) \
            VALUES (?1, ?2, ?3, ?3, 0) ON CONFLICT (tenant, id) DO NOTHING";
        FIND = "SELECT id, created_at, updated_at, n_messages FROM sessions WHERE tenant = ?1 AND id = ?2";
        NEWEST = "SELECT id, created_at, updated_at, n_messages FROM sessions \
            WHERE tenant = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2";
        NEWEST_AFTER = "SELECT id, created_at, updated_at, n_messages FROM sessions \
            WHERE tenant = ?1 AND (created_at, id) < (?3, ?4) ORDER BY created_at DESC, id DESC LIMIT ?2";
        GROW = "UPDATE sessions SET n_messages = ?3, updated_at = ?4 WHERE tenant = ?1 AND id = ?2";
        DELETE = "DELETE FROM sessions WHERE tenant = ?1 AND id = ?2";

        INSERT_MESSAGE = "INSERT INTO messages (tenant, session, number, doc) VALUES (?1, ?2, ?3, ?4)";
        MESSAGES = "SELECT number, doc FROM messages \
            WHERE tenant = ?1 AND session = ?2 AND number > ?3 ORDER BY number LIMIT ?4";
        DELETE_MESSAGES = "DELETE FROM messages WHERE tenant = ?1 AND session = ?2";
    }

    chat {
        INSERT = "INSERT INTO chats (id, tenant, session, model, labels, created_at, ended_at, state, \
            input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost) \
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (id) DO NOTHING";
    }

    artifact {
        INSERT = "INSERT INTO artifacts (tenant, id, generation, kind, blob, created_at, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        FIND = "SELECT doc FROM artifacts WHERE tenant = ?1 AND id = ?2";
        DELETE = "DELETE FROM artifacts WHERE tenant = ?1 AND id = ?2";
        DELETE_OUTPUTS = "DELETE FROM artifacts WHERE tenant = ?1 AND generation = ?2";
        COUNT_OUTPUTS = "SELECT count(*) FROM artifacts WHERE tenant = ?1 AND generation = ?2";
        REFERS_TO_BLOB = "SELECT EXISTS (SELECT 1 FROM artifacts WHERE blob = ?1)";
        // An answer that is being kept names its blobs in the record.
        IS_ANSWER = "SELECT EXISTS (SELECT 1 FROM generations WHERE ended = 0 AND doc LIKE '%' || ?1 || '%')";
    }
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

    /// Movements of the tenant, its first parameter.
    pub(super) fn ledger() -> Self {
        let text = "SELECT number, at, generation, session, model, since, reason, from_account, to_account, amount, chat \
            FROM ledger WHERE tenant = ?1";
        Self { text: text.to_owned(), n_parameters: 1 }
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
