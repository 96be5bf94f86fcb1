-- uses: clock exhumation
-- Trims the oldest dead letters: what is beyond `most` and what is older than `max_age_ms`, up to `limit` a call.
-- KEYS: dlq, counters
-- ARGV: prefix, most, max_age_ms, limit, id of the newest that may go (or +)
-- returns: how many were trimmed
local beyond, trimmed = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2]), 0
local before, gone = now_ms() - tonumber(ARGV[3]), {}
for i, letter in ipairs(redis.call('XRANGE', KEYS[1], '-', ARGV[5], 'COUNT', tonumber(ARGV[4]))) do
  if i > beyond and tonumber(string.match(letter[1], '^%d+')) >= before then break end
  local fields = letter[2]
  local group = fields[#fields - 1] == 'group' and fields[#fields] or ''
  if exhume(ARGV[1], letter[1], group, gone) then trimmed = trimmed + 1 end
end
forget(ARGV[1], gone)
if trimmed > 0 then redis.call('HINCRBY', KEYS[2], 'trimmed', trimmed) end
return trimmed
