-- uses: clock exhumation
-- Trims dead letters of some groups: of those given, oldest first, what is beyond `most` in all these groups together
-- and what is older than `max_age_ms`. However many ask at once, no more goes than is too much.
-- KEYS: counters
-- ARGV: prefix, most, max_age_ms (-1: no such limit), how many groups, then each group and each letter: id, group
-- returns: how many were trimmed
local prefix, most, age, groups = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local before, trimmed, gone, letters = age >= 0 and now_ms() - age or 0, 0, {}, 0
for i = 5, 4 + groups do letters = letters + redis.call('XLEN', prefix .. ':dlq:group:' .. ARGV[i]) end
for i = 5 + groups, #ARGV, 2 do
  local is_beyond = most >= 0 and letters - trimmed > most
  if not is_beyond and tonumber(string.match(ARGV[i], '^%d+')) >= before then break end
  if exhume(prefix, ARGV[i], ARGV[i + 1], gone) then trimmed = trimmed + 1 end
end
forget(prefix, gone)
if trimmed > 0 then redis.call('HINCRBY', KEYS[1], 'trimmed', trimmed) end
return trimmed
