-- uses: runner version
-- Opens an agent for one message. Its state is sent only to one who does not have it already.
-- KEYS: mailbox, inflight, agent, journal
-- ARGV: consumer, seq, message, the mark of the version the caller has
-- returns: {-1} the message is not the caller's any more; {0} it was applied before; {1} run it on the state you have;
-- {2, mark, schema, state, then the entries of the journal}, where schema and state are '' if there is none
if not still_runs(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return {-1} end
local mark, applied = version_of(KEYS[3])
if applied == ARGV[3] then return {0} end
if mark == ARGV[4] then return {1} end
local is = redis.call('HMGET', KEYS[3], 'schema', 'state')
return {2, mark, is[1] or '', is[2] or '', unpack(redis.call('LRANGE', KEYS[4], 0, -1))}
