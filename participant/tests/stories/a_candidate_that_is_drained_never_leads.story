# A candidate that is told to stop says so
cold
shard 1

> stand
+ 0 Epoch 1
> drain
< halt: resigned
> durable
> read on
