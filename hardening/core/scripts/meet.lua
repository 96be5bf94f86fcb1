-- uses: clock barrier
-- Comes to a barrier, goes on waiting at it, or breaks it. Who came last releases all; a party whose lease ran out
-- breaks it for those who came with it, and the next generation begins. Asked again after a lost reply, it answers the
-- same: a party is known by its name. What is kept for keep_ms goes by itself. Works on a full Redis: the first write
-- only frees memory.
-- KEYS: barrier
-- ARGV: prefix, name, party, parties, generation or '' to come, lease_ms, keep_ms, why to break it or ''
-- returns: {generation, how many came, 'released', 'died', 'forgotten', 'mismatch', why it broke, or '' it waits,
--   parties}
local prefix, name, party, joins = ARGV[1], ARGV[2], ARGV[3], ARGV[5] == ''
local keep, now = tonumber(ARGV[7]), now_ms()
local is = redis.call('HMGET', KEYS[1], 'generation', 'parties')
local current = is[1] or '0'
local generation, wanted = joins and current or ARGV[5], is[2] or ARGV[4]
if joins and redis.call('ZSCORE', parties_of(prefix, name, tonumber(current) - 1), party) then
  generation = string.format('%.0f', tonumber(current) - 1) -- it had come, but has not heard of it
end
local how, came = ended(prefix, name, generation)
if how then return {tonumber(generation), came, how, tonumber(wanted)} end
local parties = parties_of(prefix, name, generation)
redis.call('ZREM', parties, '')
if not joins or redis.call('ZSCORE', parties, party) then
  redis.call('ZADD', parties, 'XX', now + tonumber(ARGV[6]), party)
end
if redis.call('ZCOUNT', parties, '-inf', now) > 0 then
  how, came = finish(KEYS[1], prefix, name, generation, 'died', keep)
  if not joins then return {tonumber(generation), came, how, tonumber(wanted)} end
  generation = redis.call('HGET', KEYS[1], 'generation')
  parties = parties_of(prefix, name, generation)
end
if not joins and not redis.call('ZSCORE', parties, party) then
  return {tonumber(generation), 0, 'forgotten', tonumber(wanted)}
elseif ARGV[8] ~= '' then
  how, came = finish(KEYS[1], prefix, name, generation, ARGV[8], keep)
  return {tonumber(generation), came, how, tonumber(wanted)}
elseif redis.call('ZCARD', parties) > 0 and wanted ~= ARGV[4] then
  return {tonumber(generation), redis.call('ZCARD', parties), 'mismatch', tonumber(wanted)}
end
redis.call('HSET', KEYS[1], 'generation', generation, 'parties', ARGV[4])
redis.call('ZADD', parties, now + tonumber(ARGV[6]), party)
for _, key in ipairs({KEYS[1], parties}) do redis.call('PEXPIRE', key, 2 * keep) end
came, how = redis.call('ZCARD', parties), ''
if came >= tonumber(ARGV[4]) then how = finish(KEYS[1], prefix, name, generation, 'released', keep) end
return {tonumber(generation), came, how, tonumber(ARGV[4])}
