-- Publishes messages in their order: ARGV is a channel and its message, again and again.
for place = 1, #ARGV, 2 do
    redis.call('PUBLISH', ARGV[place], ARGV[place + 1])
end
return #ARGV / 2
