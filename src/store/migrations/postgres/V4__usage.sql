-- A statement of usage reads every chat of its time: from the index alone, unless it is by label.
DROP INDEX filmgate.chats_by_age;
CREATE INDEX chats_by_age ON filmgate.chats (tenant, created_at) INCLUDE (model, session, state, cost, input_tokens, output_tokens);
