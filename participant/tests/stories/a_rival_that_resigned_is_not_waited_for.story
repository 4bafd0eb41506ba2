# The lease of a leader that resigned is not waited for, another's is
shard 1
lease 2000 ms

> crash
> rival stands
> rival resigns
> replay
> stand
+ 0 Epoch 3
> durable
> read on
< leading in epoch 3
> crash
> rival stands
> replay
> stand
+ 0 Epoch 5
> durable
> read on
> wait 2003 ms
< leading in epoch 5
