-- Adds fields to the layout, unless somebody else did since it was read.
--
-- KEYS: the layout. ARGV: how many fields it had when it was read; then names and values.
-- Fields are only ever added, so their number tells whether it is still the same. Answers 1 if they were added.

if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then
  return 0
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
