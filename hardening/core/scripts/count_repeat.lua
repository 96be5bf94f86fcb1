-- Counts a publication that was a repeat. Also a write on the connection of who wants to know that what was
-- published before, perhaps over another, has been replicated: WAIT looks at the last write of its own connection.
-- KEYS: counters
-- ARGV: n
-- returns: how many there were
return redis.call('HINCRBY', KEYS[1], 'repeats', ARGV[1])
