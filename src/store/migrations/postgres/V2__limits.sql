-- The model at which a generation's job is at work, so that all processes together keep to its limits.
ALTER TABLE filmgate.generations ADD COLUMN works_at TEXT COLLATE "C";
CREATE INDEX generations_at_work ON filmgate.generations (split_part(works_at, '/', 1), works_at) WHERE works_at IS NOT NULL;

-- Until when a provider wants no orders.
CREATE TABLE filmgate.pauses (
    provider TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    until BIGINT NOT NULL
);

-- When orders were sent to a provider or model that has a rate.
CREATE TABLE filmgate.sends (
    name TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX sends_by_time ON filmgate.sends (name, at);
