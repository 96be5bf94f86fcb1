-- uses: leadership
-- Takes or renews the lead of an election. Asked again after a lost reply, it answers the same. Works on a full Redis:
-- the first write only frees memory; a token that rang for a vacancy means nothing once there is a leader.
-- KEYS: election, fence, vacancy
-- ARGV: candidate, ttl_ms
-- returns: {token of the leader, ms its lease still lasts: -1 where the leader is this candidate}
redis.call('DEL', KEYS[3])
local token, _, left = take_lead(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
return {token, left and math.max(0, left) or -1}
