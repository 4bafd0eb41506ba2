# The first candidate in log order wins the epoch; the other halts when it reads that
shard 1

> crash
> replay
> stand
+ 0 Epoch 2
> rival stands
> durable
> read on
< halt: deposed
