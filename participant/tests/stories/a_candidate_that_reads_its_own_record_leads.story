# A candidate leads only once it has read back its own record as the winning one
cold
shard 1
txn t1: 1 alice =1

> replay
> single t1 from c1
< c1: not leading, epoch 0
> stand
+ 0 Epoch 1
> single t1 from c1
< c1: not leading, epoch 0
> durable
> single t1 from c1
< c1: not leading, epoch 0
> read on
< leading in epoch 1
> single t1 from c1
+ 1 CommitSingle t1 at @0: alice
