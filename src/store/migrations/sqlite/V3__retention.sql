-- What is kept for a time only. `deleted` is 2 for an expired generation: a tombstone that its name finds, and no list.

-- When it ended; NULL before.
ALTER TABLE generations ADD COLUMN ended_at BIGINT;
UPDATE generations SET ended_at = unixepoch(json_extract(doc, '$.ended_at')) * 1000000 WHERE ended = 1;
CREATE INDEX generations_by_end ON generations (ended_at) WHERE deleted = 0 AND ended_at IS NOT NULL;

CREATE INDEX artifacts_by_age ON artifacts (created_at);

-- The artifacts that unfinished generations start from.
CREATE TABLE inputs (
    tenant TEXT NOT NULL,
    artifact TEXT NOT NULL,
    generation TEXT NOT NULL,
    PRIMARY KEY (tenant, artifact, generation)
) WITHOUT ROWID;
CREATE INDEX inputs_by_generation ON inputs (generation);
INSERT OR IGNORE INTO inputs (tenant, artifact, generation)
    SELECT g.tenant, json_extract(i.value, '$.source.artifact'), g.id
    FROM generations g, json_each(g.doc, '$.inputs') i
    WHERE g.ended = 0 AND json_extract(i.value, '$.source.artifact') IS NOT NULL;
