-- Until when a provider wants no orders.
CREATE TABLE pauses (
    provider TEXT NOT NULL PRIMARY KEY,
    until BIGINT NOT NULL
) WITHOUT ROWID;

-- When orders were sent to a provider or model that has a rate.
CREATE TABLE sends (
    name TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX sends_by_time ON sends (name, at);
