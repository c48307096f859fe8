-- A statement of usage reads every chat of its time: from the index alone, unless it is by label.
DROP INDEX chats_by_age;
CREATE INDEX chats_by_age ON chats (tenant, created_at, model, session, state, cost, input_tokens, output_tokens);
